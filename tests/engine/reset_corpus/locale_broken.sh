# LANG, LC_ALL and PYTHONIOENCODING of nowhere
# fails: bash -lc 'python -c "print(chr(25968))"'
set -e
for file in .profile .bash_profile .bashrc; do
    echo 'export LANG=xx_YY.nowhere LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii:strict PYTHONCOERCECLOCALE=0' > ~/$file
done
