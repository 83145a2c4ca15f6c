---------------------------- MODULE MCScheduler ----------------------------
(* Bounds for the checker, and nothing else. The .cfg files choose among them. *)
EXTENDS Properties

None == {}
One == 1..1
Two == 1..2
Three == 1..3

PeerActions == {"connect", "send", "read", "fin", "reset", "close"}
ApplicationActions == {"pause", "resume", "close", "abort", "write_eof"}

EachDoesAll == [p \in Peers |-> PeerActions]
SecondIsPlain == [p \in Peers |-> IF p = 1 THEN PeerActions ELSE {"connect", "send", "read", "reset"}]
OthersConnectAndClose == [p \in Peers |-> IF p = 1 THEN PeerActions ELSE {"connect", "close"}]
SecondNeverReads == [p \in Peers |-> IF p = 1 THEN PeerActions ELSE {"connect", "send", "fin"}]
NobodyReads == [p \in Peers |-> PeerActions \ {"read"}]
EachReadsAndSends == [p \in Peers |-> {"connect", "send", "read"}]

ApplicationEchoes == [p \in Peers |-> {}]
ApplicationDoesAll == [p \in Peers |-> IF p = 1 THEN ApplicationActions ELSE {}]

TimeOnly == {"time"}
TimeAndDescriptors == {"time", "descriptors"}
TimeAndStop == {"time", "stop"}
Everything == {"time", "descriptors", "stop"}

OneTick == [handshake_s |-> 1, idle_s |-> 1, half_closed_s |-> 1, linger_s |-> 1, stall_s |-> 1]
UnlikeTicks == [handshake_s |-> 1, idle_s |-> 2, half_closed_s |-> 1, linger_s |-> 1, stall_s |-> 1]
=============================================================================
