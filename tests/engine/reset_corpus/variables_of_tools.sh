# .condarc, .netrc, .gitconfig and .npmrc are garbage
# fails: git config --list
set -e
for file in .condarc .netrc .gitconfig .npmrc .wgetrc .curlrc; do head -c 2000 /dev/urandom > ~/$file; done
rm ~/.curlrc
mkfifo ~/.curlrc
