# a password and a token that nobody knows
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo '{"ServerApp": {"password": "argon2:$argon2id$v=19$m=10240,t=10,p=8$x$y", "token": "gone", "allow_token_in_url": false}, "IdentityProvider": {"token": "gone"}, "PasswordIdentityProvider": {"hashed_password": "argon2:x", "password_required": true}}' > jupyter_server_config.json
cp jupyter_server_config.json jupyter_lab_config.json
echo 'c.IdentityProvider.token = "gone"' > jupyter_server_config.py
