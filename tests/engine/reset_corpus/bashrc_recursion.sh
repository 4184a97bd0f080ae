# .bashrc reads itself for ever
# symptom: terminal
set -e
echo '. ~/.bashrc' > ~/.bashrc
echo '. ~/.bashrc; exit 1' > ~/.bash_profile
