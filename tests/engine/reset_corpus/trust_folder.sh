# the trust database, its secret and the history are folders
# symptom: none
set -e
mkdir -p ~/.local/share/jupyter/nbsignatures.db ~/.local/share/jupyter/notebook_secret ~/.ipython/profile_default/history.sqlite
