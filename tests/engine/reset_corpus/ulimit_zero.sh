# no file can be opened, and no process has memory
# symptom: terminal
set -e
for file in .profile .bash_profile .bashrc; do echo 'ulimit -v 1000; ulimit -n 3' > ~/$file; done
