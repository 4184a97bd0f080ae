# bin/python is a link to itself
# symptom: environment
set -e
rm -f ~/.venv/bin/python*
ln -s python ~/.venv/bin/python
