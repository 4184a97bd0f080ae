# the run-time folder of Jupyter is a file
# symptom: jupyter
set -e
mkdir -p ~/.local/share/jupyter
rm -rf ~/.local/share/jupyter/runtime
echo x > ~/.local/share/jupyter/runtime
