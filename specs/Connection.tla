----------------------------- MODULE Connection -----------------------------
(***************************************************************************)
(* One connection and everything that can happen to it.  Its actions bear  *)
(* the names of the events; where an event leads, what is watched, what    *)
(* runs and when nothing is owed comes from Table, which is generated from *)
(* the code.  Here stands only what an event does to the outbox and to the *)
(* holds, and when the world lets it happen: never by state.  So a row of  *)
(* the table that is wrong shows here.                                     *)
(*                                                                         *)
(* Beside the events there are Sent (the kernel takes a part) and what the *)
(* application asks for: Close, EndOutput, Pause, Resume.                  *)
(***************************************************************************)
EXTENDS Integers, Table

CONSTANTS
    MostBytes,    \* so many bytes are written in a connection's life,
    MostReceived, \* and so many received, at most: for the checker only.
    High, Low, Cap, LingerBytes,
    Mistake       \* What the design is made to forget, to see that it is missed (broken/Connection*.cfg); "" for nothing.

VARIABLES
    state, holds,
    written, outbox, taken, discarded,  \* Bytes the application wrote, and where each of them is.
    offered,                            \* Of what is in the outbox, the kernel was offered some.
    sealed,                             \* The end of the stream is queued behind the last byte.
    delivered, lingered,                \* Bytes received: given to the application, or thrown away after Close.
    opened,                             \* The application has seen the connection.
    closes, last                        \* How often it was closed, and by which event; "" is none yet.

vars == <<state, holds, written, outbox, taken, discarded, offered, sealed, delivered, lingered, opened, closes, last>>

Init ==
    /\ state = Initial /\ holds = NoHold
    /\ written = 0 /\ outbox = 0 /\ taken = 0 /\ discarded = 0
    /\ offered = FALSE /\ sealed = FALSE /\ opened = FALSE
    /\ delivered = 0 /\ lingered = 0
    /\ closes = 0 /\ last = ""

-----------------------------------------------------------------------------
(* Moving. What leads to closed throws the outbox away, and counts it. *)

Closed == state = "closed"
Ends(event) == NextState[state][event] = "closed"

(* The table's part of an event after which `bytes` would be in the outbox: its state, and what is lost if it is the end. *)
Fire(event, bytes) ==
    /\ Legal(state, event)
    /\ state' = NextState[state][event]
    /\ outbox' = IF Ends(event) /\ Mistake # "keeps bytes" THEN 0 ELSE bytes
    /\ discarded' = IF Ends(event) /\ Mistake # "loses count" THEN discarded + bytes ELSE discarded
    /\ closes' = IF Ends(event) THEN closes + 1 ELSE closes
    /\ last' = IF Ends(event) THEN event ELSE last

(* Finish follows at once: while nothing is owed, nothing else happens. *)
MayHappen == Mistake = "finishes late" \/ ~OwesNothing(state, holds)

Unmoved == UNCHANGED <<state, outbox, discarded, closes, last>>
UnchangedSending == UNCHANGED <<written, taken, offered>>
UnchangedReceiving == UNCHANGED <<delivered, lingered>>

Ending(event) ==
    /\ Fire(event, outbox)
    /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED <<holds, sealed, opened>>

-----------------------------------------------------------------------------
(* What the network does. *)

Open ==
    /\ MayHappen /\ ~opened /\ Fire("open", outbox) /\ opened' = TRUE
    /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED <<holds, sealed>>

(* It is read because it is watched for reading; what comes after Close is thrown away. *)
Receive ==
    /\ MayHappen /\ delivered + lingered < MostReceived
    /\ Reads(state, holds) \/ Mistake = "reads under a hold"
    /\ Fire("receive", outbox)
    /\ IF Held(holds, "finishing") /\ Mistake # "delivers after close"
       THEN lingered < LingerBytes /\ lingered' = lingered + 1 /\ UNCHANGED delivered
       ELSE delivered' = delivered + 1 /\ UNCHANGED lingered
    /\ UnchangedSending /\ UNCHANGED <<holds, sealed, opened>>

(* The application may keep it half open, unless its own end is said already and nothing is unsent. *)
Eof ==
    /\ MayHappen /\ ~Held(holds, "eof") /\ Fire("eof", outbox)
    /\ \E halfOpen \in {TRUE, FALSE} :
        LET over == ~halfOpen \/ (sealed /\ outbox = 0)
            held == With(holds, "eof")
        IN /\ holds' = IF Ends("eof") THEN holds ELSE IF over THEN With(held, "finishing") ELSE held
           /\ sealed' = (sealed \/ (over /\ ~Ends("eof")))
    /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED opened

Finish ==
    /\ OwesNothing(state, holds) /\ Fire("finish", outbox)
    /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED <<holds, sealed, opened>>

Reset == MayHappen /\ Ending("reset")
Exceptional == MayHappen /\ Ending("exceptional")
Expire == MayHappen /\ Mistake # "waits for ever" /\ Deadline(state, holds) # Forever /\ Ending("expire")
Abort == MayHappen /\ Ending("abort")

-----------------------------------------------------------------------------
(* Sending. *)

Pressed(bytes) == IF bytes > High /\ Mistake # "no backpressure" THEN With(holds, "backpressure") ELSE holds

Enqueue ==
    /\ MayHappen /\ opened /\ ~sealed /\ written < MostBytes
    /\ outbox < Cap \/ Mistake = "no cap"
    /\ Fire("enqueue", outbox + 1)
    /\ written' = written + 1 /\ holds' = Pressed(outbox + 1)
    /\ UnchangedReceiving /\ UNCHANGED <<taken, offered, sealed, opened>>

Flush ==
    /\ MayHappen /\ outbox > 0 /\ Fire("flush", outbox) /\ offered' = TRUE
    /\ UnchangedReceiving /\ UNCHANGED <<written, taken, holds, sealed, opened>>

Eased(bytes) == IF bytes <= Low /\ Mistake # "never eases" THEN Without(holds, "backpressure") ELSE holds

(* The kernel has taken a part of what it was offered. *)
Sent ==
    /\ MayHappen /\ offered
    /\ \E bytes \in 1..(outbox - 1) :
        /\ outbox' = outbox - bytes
        /\ taken' = IF Mistake = "forgets a partial send" THEN taken ELSE taken + bytes
        /\ holds' = Eased(outbox - bytes)
    /\ UnchangedReceiving /\ UNCHANGED <<state, discarded, closes, last, written, offered, sealed, opened>>

(* It has taken the last byte. Then the connection is over if both ends are said. *)
Drain ==
    /\ MayHappen /\ outbox > 0 /\ offered
    /\ Fire("drain", 0)
    /\ taken' = taken + outbox /\ offered' = FALSE
    /\ holds' = IF sealed /\ Held(holds, "eof") THEN With(Eased(0), "finishing") ELSE Eased(0)
    /\ UnchangedReceiving /\ UNCHANGED <<written, sealed, opened>>

-----------------------------------------------------------------------------
(* What the application asks for. *)

Close ==
    /\ MayHappen /\ opened /\ ~Closed /\ ~Held(holds, "finishing")
    /\ holds' = With(holds, "finishing") /\ sealed' = (Mistake # "close leaves it open")
    /\ Unmoved /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED opened

(* asyncio calls it write_eof. *)
EndOutput ==
    /\ MayHappen /\ opened /\ ~Closed /\ ~sealed /\ sealed' = TRUE
    /\ holds' = IF Held(holds, "eof") /\ outbox = 0 THEN With(holds, "finishing") ELSE holds
    /\ Unmoved /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED opened

Pause ==
    /\ MayHappen /\ ~Closed /\ ~Held(holds, "paused") /\ holds' = With(holds, "paused")
    /\ Unmoved /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED <<sealed, opened>>

Resume ==
    /\ MayHappen /\ ~Closed /\ Held(holds, "paused") /\ holds' = Without(holds, "paused")
    /\ Unmoved /\ UnchangedSending /\ UnchangedReceiving /\ UNCHANGED <<sealed, opened>>

(* The end is the end: that nothing happens any more is no deadlock there, and there only. *)
Rest == Closed /\ UNCHANGED vars

Next ==
    \/ Open \/ Receive \/ Enqueue \/ Flush \/ Sent \/ Drain \/ Eof \/ Finish \/ Reset \/ Exceptional \/ Expire \/ Abort
    \/ Close \/ EndOutput \/ Pause \/ Resume \/ Rest

(* Fair is that what is owed follows, that a deadline which runs for good passes, and that the kernel takes what a peer reads. *)
Fair == WF_vars(Finish) /\ WF_vars(Expire) /\ WF_vars(Flush) /\ WF_vars(Drain)

Safe == Init /\ [][Next]_vars
Spec == Safe /\ Fair

-----------------------------------------------------------------------------
(* What must hold. *)

TypeOK ==
    /\ state \in States /\ holds \in HoldSets /\ last \in Events \cup {""}
    /\ written \in Nat /\ outbox \in Nat /\ taken \in Nat /\ discarded \in Nat /\ delivered \in Nat /\ lingered \in Nat

OutboxMatchesState == (state \in Sending) <=> (outbox > 0)
WritingMeansOffered == (state = "writing") <=> (outbox > 0 /\ offered)
BytesAddUp == written = taken + outbox + discarded
ClosedOnce == closes = IF Closed THEN 1 ELSE 0
GracefulLosesNothing == last = "finish" => discarded = 0 /\ taken = written
OnlyTheEndLoses == ~Closed => discarded = 0
WritingIsWatched == Writes(state, holds) <=> outbox > 0
ReadingIsWatched == Reads(state, holds) <=> ~Closed /\ (holds = NoHold \/ Lingers(state, holds))
LingersOnlyWhenAllIsSent == Lingers(state, holds) => sealed /\ taken = written /\ ~Held(holds, "eof")
ADeadlineRuns == Deadline(state, holds) = Forever <=> Closed
OutboxIsBounded == outbox <= Cap
OverHighIsHeld == ~Closed /\ outbox > High => Held(holds, "backpressure")
HeldOnlyOverLow == ~Closed /\ Held(holds, "backpressure") => outbox > Low
FinishingMeansSealed == Held(holds, "finishing") => sealed
LingeringIsBounded == lingered <= LingerBytes
WhatIsOverIsOver == Held(holds, "eof") /\ sealed /\ outbox = 0 /\ opened => Closed \/ OwesNothing(state, holds)

Invariants ==
    /\ TypeOK /\ OutboxMatchesState /\ WritingMeansOffered /\ BytesAddUp /\ ClosedOnce /\ GracefulLosesNothing /\ OnlyTheEndLoses
    /\ WritingIsWatched /\ ReadingIsWatched /\ LingersOnlyWhenAllIsSent /\ ADeadlineRuns /\ OutboxIsBounded /\ OverHighIsHeld
    /\ HeldOnlyOverLow /\ FinishingMeansSealed /\ LingeringIsBounded /\ WhatIsOverIsOver

(* Of the steps. *)
ClosedIsFinal == [][Closed => state' = "closed" /\ closes' = closes]_vars
NothingIsReadUnderAHold == [][delivered' + lingered' > delivered + lingered => Reads(state, holds)]_vars
NothingIsDeliveredAfterClose == [][Held(holds, "finishing") => delivered' = delivered]_vars
OwingNothingFinishes == [][OwesNothing(state, holds) => last' = "finish"]_vars

(* In the end. *)
EverythingCloses == <>Closed
UnsentBytesLeave == outbox > 0 ~> outbox = 0
=============================================================================
