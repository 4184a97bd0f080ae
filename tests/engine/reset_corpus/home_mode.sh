# the home without permissions
# symptom: save
set -e
chmod 000 ~
