#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: `cluster.sh VERB DIR`. start, stop: all of it. kill-daemon:
# slurmd dies, its jobs live on. kill-node: so do they. restart-daemon: slurmd comes back.
# Needs slurmctld, slurmd and munged (Debian: slurm-wlm munge) and root. Everything lies in DIR; clients use it
# with SLURM_CONF=DIR/slurm.conf.
set -euo pipefail
dir=$(realpath -m "${2:?usage: cluster.sh start|stop|kill-daemon|kill-node|restart-daemon DIR}")
alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

start() {
  mkdir -p "$dir/state" "$dir/spool" "$dir/munge"
  chmod 700 "$dir/munge"
  head -c 1024 /dev/urandom >"$dir/munge/key"
  chmod 400 "$dir/munge/key"
  munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
  local host port cores
  host=$(hostname -s)
  port=$((20000 + RANDOM % 20000))
  cores=$(nproc)
  cat >"$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=30
MinJobAge=2
BatchStartTimeout=1
SchedulerParameters=sched_interval=1,bf_interval=1,requeue_delay=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
  export SLURM_CONF="$dir/slurm.conf"
  slurmctld -f "$SLURM_CONF"
  slurmd -f "$SLURM_CONF"
  for _ in $(seq 100); do
    if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then return; fi
    sleep 0.2
  done
  tail -20 "$dir"/slurmctld.log "$dir"/slurmd.log >&2
  echo "the cluster did not come up" >&2
  exit 1
}

stop() {
  for pid in slurmd.pid slurmctld.pid munge/pid; do
    if alive "$dir/$pid"; then kill "$(cat "$dir/$pid")"; fi
  done
  for pid in slurmd.pid slurmctld.pid munge/pid; do
    for _ in $(seq 50); do alive "$dir/$pid" || break; sleep 0.1; done
    if alive "$dir/$pid"; then kill -9 "$(cat "$dir/$pid")"; fi
  done
}

kill-daemon() {
  kill -9 "$(cat "$dir/slurmd.pid")"
  rm -f "$dir/slurmd.pid"
}

kill-node() {
  kill-daemon
  # Of every job its script, what that started, and the step daemon above it.
  for script in $(pgrep -f "$dir/spool/job"); do
    kill -9 "$(ps -o ppid= -p "$script" | tr -d ' ')" $(pgrep -P "$script") "$script" || true
  done
}

restart-daemon() { SLURM_CONF="$dir/slurm.conf" slurmd -f "$dir/slurm.conf"; }

"$1"
