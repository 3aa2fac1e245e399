"""What Core's functional test framework writes into bitcoin.conf, and what it passes on every command line."""

CONFIG = """
regtest=1
[regtest]
port={port}
rpcport={rpc_port}
rpcservertimeout=99000
rpcdoccheck=1
fallbackfee=0.0002
server=1
keypool=1
discover=0
dnsseed=0
fixedseeds=0
listenonion=0
peertimeout=999999999
printtoconsole=0
upnp=0
natpmp=0
shrinkdebugfile=0
deprecatedrpc=create_bdb
unsafesqlitesync=1
connect=0
bind=127.0.0.1
"""
ARGUMENTS = (
    "-logtimemicros -debug -debugexclude=libevent -debugexclude=leveldb -debugexclude=rand -uacomment=testnode{number} "
    "-disablewallet -logthreadnames -logsourcelocations -loglevel=trace -v2transport=0"
)
