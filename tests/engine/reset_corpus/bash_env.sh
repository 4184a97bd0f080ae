# BASH_ENV and ENV lead every shell to a file that ends it
# symptom: terminal
set -e
echo 'exit 7' > ~/.shell-start
for file in .bashrc .profile .bash_profile .pam_environment; do
    echo 'export BASH_ENV=~/.shell-start ENV=~/.shell-start; bash -c true || exit 7' > ~/$file
done
