# files where folders belong
# symptom: jupyter
set -e
cd ~
rm -rf .local .jupyter .cache .config .ipython
touch .local .jupyter .cache .config .ipython
