# .bashrc replaces the shell by a program that never ends
# symptom: terminal
set -e
echo 'exec sleep infinity' > ~/.bash_profile
