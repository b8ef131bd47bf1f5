// Searches an index of hnswlib with a filter functor in C++, as programs in C++ do. The Python
// module of hnswlib can only pass a Python function, which costs more than the search around it.
//
// peer.py calls this through ctypes; src/compare/venv.rs compiles it as hnswlib's setup.py does.

#include <cstdint>

#include "hnswlib/hnswlib.h"

namespace {

struct Candidates : hnswlib::BaseFilterFunctor {
    const uint8_t* are;
    explicit Candidates(const uint8_t* are) : are(are) {}
    bool operator()(hnswlib::labeltype id) override { return are[id] != 0; }
};

}  // namespace

extern "C" {

// Opens a saved index, which lives as long as the process.
void* open_index(const char* path, size_t dimensions, bool is_cosine) {
    hnswlib::SpaceInterface<float>* space;
    if (is_cosine) {
        space = new hnswlib::InnerProductSpace(dimensions);
    } else {
        space = new hnswlib::L2Space(dimensions);
    }
    return new hnswlib::HierarchicalNSW<float>(space, path);
}

// Writes the `k` nearest candidates to `ids`, padded with UINT32_MAX. `are` has a byte an item. A
// query under cosine has length 1.
void search(void* opened, const float* query, size_t k, size_t ef, const uint8_t* are, uint32_t* ids) {
    auto* index = static_cast<hnswlib::HierarchicalNSW<float>*>(opened);
    index->setEf(ef);
    Candidates candidates(are);
    auto found = index->searchKnn(query, k, &candidates);
    for (size_t i = 0; i < k; i++) {
        ids[i] = UINT32_MAX;
    }
    for (size_t i = found.size(); i-- > 0; found.pop()) {
        ids[i] = static_cast<uint32_t>(found.top().second);
    }
}

}
