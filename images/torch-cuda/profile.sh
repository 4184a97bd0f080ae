# Login shells (JupyterLab's terminals are) start from /etc/profile, which resets PATH; and the
# settings that protect the server are not for the user's own jupyter commands.
PATH=/home/jovyan/.venv/bin:/opt/gpucamp/base/bin:/usr/local/bin:/usr/bin:/bin
if [ "${GPUCAMP_PRACTICE:-0}" = 1 ]; then
    PATH=/opt/gpucamp/practice/bin:$PATH
fi
export PATH
unset JUPYTER_CONFIG_DIR JUPYTER_PREFER_ENV_PATH
