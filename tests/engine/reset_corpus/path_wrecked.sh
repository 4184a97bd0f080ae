# PATH, PYTHONPATH, PYTHONHOME and LD_PRELOAD are wrecked for every shell
# symptom: terminal, jupyter
set -e
for file in .bashrc .profile .bash_profile .bash_login .zshrc .pam_environment; do
    echo 'export PATH=/nowhere PYTHONPATH=/nowhere PYTHONHOME=/nowhere LD_PRELOAD=/nowhere.so' > ~/$file
done
