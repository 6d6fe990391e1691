# Runs a RabbitMQ node, or one of its tools ($1 and the other arguments). Everything that it uses is in this folder: the
# ports in the file `ports`, epmd, cookie, data. The configuration of the system is not read, and all sockets listen on
# 127.0.0.1 only.
set -eu
. ./ports
export HOME=$PWD/home ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port
export RABBITMQ_NODENAME=seatlock@localhost RABBITMQ_DIST_PORT=$dist_port
export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=$PWD/rabbitmq.conf
export RABBITMQ_ENABLED_PLUGINS_FILE=$PWD/plugins RABBITMQ_MNESIA_BASE=$PWD/data
export RABBITMQ_LOG_BASE=$PWD/log RABBITMQ_PID_FILE=$PWD/log/pid RABBITMQ_LOGS=-
# Idle schedulers sleep instead of busy waiting, because the tests need the processors.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none'
PATH=/usr/lib/rabbitmq/bin:$PATH
case $1 in
rabbitmq-server)
    # Otherwise the node would start an epmd that does not end with it. As a child of the node, epmd is killed and
    # paused together with the node.
    epmd -address 127.0.0.1 -port "$epmd_port" &
    echo $! >log/epmd.pid
    ;;
esac
exec "$@"
