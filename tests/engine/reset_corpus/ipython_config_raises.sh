# ipython_config.py ends the kernel
# symptom: kernel
set -e
mkdir -p ~/.ipython/profile_default
echo "import os; os._exit(1)" > ~/.ipython/profile_default/ipython_config.py
cp ~/.ipython/profile_default/ipython_config.py ~/.ipython/profile_default/ipython_kernel_config.py
