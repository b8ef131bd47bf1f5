"""What the tests of several doors share."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).parents[4]
POSTGRES = ROOT / ".ci" / "python" / "postgres"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL that is started for the tests."""
    with tempfile.TemporaryDirectory(prefix="voisin") as work:
        # Its user must be able to pass.
        os.chmod(work, 0o711)
        folder = f"{work}/pg"
        started = subprocess.run([POSTGRES, "start", folder], stdout=subprocess.PIPE)
        if started.returncode == 3:
            pytest.skip("PostgreSQL cannot be installed here: only SQLite was tested")
        started.check_returncode()
        yield started.stdout.decode().strip()
        subprocess.run([POSTGRES, "stop", folder], check=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'table.sqlite'}"
    server = sa.make_url(request.getfixturevalue("postgres"))
    name = f"test_{os.urandom(6).hex()}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as sql:
        sql.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
