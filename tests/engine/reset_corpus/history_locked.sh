# a process holds the locks of the history and the trust database
# symptom: none
set -e
mkdir -p ~/.ipython/profile_default ~/.local/share/jupyter
for file in ~/.ipython/profile_default/history.sqlite ~/.local/share/jupyter/nbsignatures.db; do
    /usr/bin/python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("create table t (x)"); c.commit()' $file
    touch $file-journal
    chmod 000 $file
done
