"""Neighbors by voisin in pipelines of scikit-learn: handwritten digits are classified, searched for
the best number of neighbors, and laid out in two dimensions.
It needs `pip install voisin[sklearn]`.
"""

from sklearn.datasets import load_digits
from sklearn.manifold import Isomap
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from voisin.sklearn import VoisinTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# The graph has as many neighbors as the largest number that is tried.
pipeline = Pipeline(
    [
        ("neighbors", VoisinTransformer(n_neighbors=9, mode="distance")),
        ("classifier", KNeighborsClassifier(metric="precomputed")),
    ]
)
search = GridSearchCV(pipeline, {"classifier__n_neighbors": [1, 3, 5, 9]}, cv=3)
search.fit(X_train, y_train)
best = search.best_params_["classifier__n_neighbors"]
print(f"{best} neighbors: {search.score(X_test, y_test):.3f} of the digits are right")

graph = VoisinTransformer(n_neighbors=10, metric="cosine").fit_transform(X[:500])
plane = Isomap(n_neighbors=10, metric="precomputed").fit_transform(graph)
print(f"{graph.nnz} edges, laid out as {plane.shape[0]} points of {plane.shape[1]} dimensions")
