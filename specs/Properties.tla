----------------------------- MODULE Properties -----------------------------
(***************************************************************************)
(* What must hold of the scheduler.  The numbers are those of "What must   *)
(* always hold" in docs/design.md.                                         *)
(*                                                                         *)
(* Three kinds.  Invariants hold in each state.  What the design promises  *)
(* "after every round" is a property of the steps that are rounds: between *)
(* two rounds the application may have asked for what the next will do.    *)
(* Where the application only echoes, AfterARound holds in each state too, *)
(* and is checked so, because TLC is much faster at that.                  *)
(* What happens in the end needs fairness, and stands in Liveness.         *)
(***************************************************************************)
EXTENDS Scheduler

Served == {p \in Peers : IsServed(conn[p])}
Open == {p \in Peers : IsOpen(conn[p])}

-----------------------------------------------------------------------------
(* In each state. *)

TypeOK ==
    /\ \A p \in Peers :
        /\ conn[p].place \in {"away", "waiting", "served"}
        /\ conn[p].recvq \in 0..ReceiveRoom /\ conn[p].sendq \in 0..SendRoom
        /\ conn[p].state \in States /\ conn[p].holds \in HoldSets /\ conn[p].age \in Nat
        /\ conn[p].fd \in Descriptors \cup {Nobody}
    /\ listener.state \in ListenerStates
    /\ server.state \in {"serving", "asked", "draining", "stopped"}

(* Among them: no event where the table has none, no connection retired twice, no report that reaches another connection, *)
(* no graceful close that loses bytes or turns into a reset, no deadline that strikes who was not silent. *)
NothingImpossibleHappened == \A p \in Peers : conn[p].fault = NoFault

(* 1 *)
OutboxMatchesState == \A p \in Open : (conn[p].state \in Sending) <=> (conn[p].outbox > 0)

(* 4, where bytes are counted. The peer's own reading is what the kernel took, less what it still keeps. *)
BytesAddUp ==
    \A p \in Open :
        LET c == conn[p]
        IN MostChunks > 0 =>
            /\ c.count.written = c.count.taken + c.outbox
            /\ c.rst \/ c.gone \/ c.count.taken = c.count.read + c.sendq

(* 4, likewise: while it is open, what the peer sent and we have read was written back, as far as the application could. *)
NothingIsForgotten ==
    \A p \in Open :
        LET c == conn[p]
        IN MostChunks > 0 /\ ~c.sealed => c.count.written = ChunkUnits * (c.count.sent - c.recvq)

(* 5 *)
MemoryIsBounded ==
    \A p \in Peers :
        /\ conn[p].outbox <= CapUnits /\ conn[p].outbox <= HighUnits + ChunkUnits
        /\ conn[p].lingered <= LingerChunks

BackpressureIsTrue ==
    \A p \in Open :
        /\ HasHold(conn[p], "backpressure") => conn[p].outbox > LowUnits
        /\ conn[p].outbox > HighUnits => HasHold(conn[p], "backpressure")

LimitIsKept == Cardinality({fd \in Descriptors : registry.links[fd] # Nobody}) <= MostConnections

(* What the sets say of a descriptor, its connection says too. *)
DescriptorsAreOwned ==
    \A fd \in Descriptors :
        /\ registry.open[fd] # Nobody => conn[registry.open[fd]].fd = fd /\ IsServed(conn[registry.open[fd]])
        /\ registry.links[fd] # Nobody => registry.links[fd] = registry.open[fd]
        /\ registry.watched[fd] # Nowhere => registry.links[fd] # Nobody

ServingMeansListening == server.state \in {"serving", "asked"} => listener.state \in {"listening", "full", "exhausted"}

StoppedMeansAllIsOver ==
    server.state = "stopped" => listener.state = "closed" /\ \A p \in Peers : conn[p] = [Away EXCEPT !.fault = conn[p].fault]

Invariants ==
    /\ TypeOK /\ NothingImpossibleHappened /\ OutboxMatchesState /\ BytesAddUp /\ NothingIsForgotten /\ MemoryIsBounded
    /\ BackpressureIsTrue /\ LimitIsKept /\ DescriptorsAreOwned /\ ServingMeansListening /\ StoppedMeansAllIsOver

(* Whatever is reported, the round that hears of it does something about it. It costs a round for each state, which the set *)
(* of one element has TLC compute once.                                                                                     *)
NeverSpins ==
    (Runs /\ (IsHeard(World) \/ \E fd \in Descriptors : IsReport(Report(World, fd)))) => \E after \in {RoundOf(World)} : after # World

-----------------------------------------------------------------------------
(* After every round. Each is asked of the state that a round leaves. *)

(* 2 *)
RegistrationFollows ==
    /\ \A p \in Served : Registered(World, p) = Wanted(conn[p])
    /\ \A fd \in Descriptors : (registry.links[fd] # Nobody) <=> (registry.watched[fd] # Nowhere)
    /\ \A fd \in Descriptors : registry.watched[fd] = Muted => Wanted(conn[registry.links[fd]]) = 0

(* 3, 6: a closed connection has left nothing, anywhere; each open one is in every table. *)
ClosedLeavesNothing ==
    /\ Served = Open
    /\ registry.armed = Open
    /\ {registry.open[fd] : fd \in Descriptors} \ {Nobody} = Open
    /\ {registry.links[fd] : fd \in Descriptors} \ {Nobody} = Open

FinIsSent == \A p \in Open : conn[p].sealed /\ conn[p].outbox = 0 => conn[p].shut

NothingIsOverdue == \A p \in Open : ~IsDue(conn[p])

ListenerWillBeRelieved ==
    /\ listener.state = "full" => Room(World) = 0
    /\ listener.state = "exhausted" => listener.backoff # {} \/ Room(World) = 0

AfterARound ==
    /\ RegistrationFollows /\ ClosedLeavesNothing /\ FinIsSent /\ NothingIsOverdue /\ ListenerWillBeRelieved

(* 7: who was readable, and watched, has been read from, or is gone. *)
EachIsServed ==
    \A p \in Open :
        Registered(World, p) \in {1, 3} /\ conn[p].recvq > 0 /\ WantsRead(conn[p])
        => conn'[p].recvq < conn[p].recvq \/ ~IsOpen(conn'[p])

(* A reset that we cannot hear by reading or writing is heard all the same, in one round; unless both sides had ended before. *)
DeathIsHeard ==
    \A p \in Open : conn[p].rst /\ registry.watched[conn[p].fd] = 0 /\ Wanted(conn[p]) = 0 => ~IsOpen(conn'[p])

(* That a step was a round is asked last, because TLC computes the round anew to tell. *)
EveryRoundIsRight == [][(AfterARound' /\ EachIsServed /\ DeathIsHeard) \/ ~(Round \/ TimePasses)]_vars
=============================================================================
