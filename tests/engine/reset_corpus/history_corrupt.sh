# the history and the trust database are garbage
# fails: python -c 'import glob, os, sqlite3; [sqlite3.connect(f).execute("select * from sqlite_master") for f in glob.glob(os.path.expanduser("~/.ipython/profile_default/history.sqlite"))]'
set -e
mkdir -p ~/.ipython/profile_default ~/.local/share/jupyter
head -c 9000 /dev/urandom > ~/.ipython/profile_default/history.sqlite
head -c 9000 /dev/urandom > ~/.local/share/jupyter/nbsignatures.db
