/* The round: 1, 2 wait; 3 each connection, exceptional, writable, readable; 4 timers; 5 accept; 6 closes.
 *
 * The process has one place where it stands: the phase is in `at`. What is nondeterministic in a step, what the application
 * does and what the kernel does, is chosen first; then the step is taken whole.
 */

#define READABLE(j) (c[j].in > 0 || c[j].fin || c[j].rst)
#define WRITABLE(j) (c[j].out < TAKEN || c[j].rst)
#define HUNG_UP(j) (c[j].rst || (c[j].fin && c[j].shut))
#define REPORT(j) ((!c[j].known || c[j].muted) -> 0 : \
    REPORT_READ * ((c[j].watched & I_READ) && READABLE(j)) + REPORT_WRITE * ((c[j].watched & I_WRITE) && WRITABLE(j)) + \
    REPORT_EXCEPTIONAL * ((c[j].watched & I_READ) && c[j].urgent) + REPORT_HANGUP * HUNG_UP(j) + REPORT_ERROR * c[j].rst)
#define REPORTED(j) (REPORT(j) != 0)
#define DUE(j) (c[j].armed && c[j].late)
#define BACKLOG_REPORTED (listener_watched && backlog > 0)
#define SOMETHING_IS_DUE (SUM(DUE) > 0 || backoff == ELAPSED || stop == ASKED || (stop == DRAINING && drain_late))

/* 1, 2. */
inline take_reports()
{
    k = 0;
    do
    :: k < D -> c[k].report = REPORT(k); k++
    :: else -> break
    od;
    listener_report = BACKLOG_REPORTED;
    did = !(SUM(REPORTED) > 0 || listener_report);
    at = 0;
    next_report();
    took = 0
}

/* Go on to the next report; those whose token leads nowhere any more are skipped. */
inline next_report()
{
    do
    :: at < D && c[at].report != 0 && (c[at].known || SERVES_THE_CLOSED || CLOSES_AT_ONCE) -> break
    :: at < D && !(c[at].report != 0 && (c[at].known || SERVES_THE_CLOSED || CLOSES_AT_ONCE)) ->
        c[at].report = 0;
        c[at].stale = 0;
        at++
    :: else -> break
    od
}

/* 3. */
#define HAS(bit) (at < D && (c[at].report & (bit)))

inline serve_exceptional()
{
    begin();
#ifdef URGENT_CLOSES
    fire(at, ON_EXCEPTIONAL);
#else
    c[at].urgent = 0;  /* the urgent byte is consumed */
    did = 1;
#endif
    follow(at);
    served(REPORT_EXCEPTIONAL)
}

inline serve_writable()
{
    begin();
    if
    :: WRITES_NOW(at) -> offer(at); follow(at)
    :: else  /* it was sent when a callback returned, or was lost */
    fi;
    served(REPORT_WRITE)
}

inline serve_readable()
{
    begin();
    if
    :: c[at].state == CLOSED && !SERVES_THE_CLOSED
    :: HAS(REPORT_ERROR) && !HAS(REPORT_READ) && !HANGUP_IS_IGNORED && c[at].state != CLOSED -> fire(at, ON_RESET)
    :: else ->
        if
        :: READS_NOW(at) || (c[at].state == CLOSED && SERVES_THE_CLOSED) ->
            if
            :: c[at].in > 0 -> receive(at)
            :: c[at].in == 0 && c[at].rst -> fire(at, ON_RESET)
            :: c[at].in == 0 && !c[at].rst && c[at].fin -> end_of_stream(at)
            :: else  /* it would block: urgent data was all there was */
            fi
        :: else ->
            if
            :: HAS(REPORT_HANGUP) && INTEREST_NOW(at) == I_NOTHING && !HANGUP_IS_IGNORED -> c[at].muted = 1; did = 1
            :: else
            fi
        fi
    fi;
    settle(at);
    served(REPORT_READ + REPORT_HANGUP + REPORT_ERROR)
}

inline begin()
{
    MUST(token_is_fresh, !c[at].stale);
    took = 0;
    ran = DEADLINE_NOW(at)
}

inline served(bits)
{
    c[at].report = c[at].report & (31 - (bits));
    if
    :: SERVES_ONLY_THE_FIRST -> at = END
    :: else -> next_report()
    fi;
    check()
}

/* 4. */
#define REPORT_LEFT(j) (c[j].report != 0)

inline run_due()
{
    took = 0;
    MUST(everyone_is_served, SUM(REPORT_LEFT) == 0);
    k = 0;
    do
    :: k < D ->
        if
        :: DUE(k) -> fire(k, ON_EXPIRE); follow(k)
        :: else
        fi;
        k++
    :: else -> break
    od;
    if
    :: backoff == ELAPSED -> backoff = NOT_RUNNING; relieve()
    :: else
    fi;
    if
    :: stop == DRAINING && drain_late && !DRAINS_FOR_EVER -> abort_all(); stop = STOPPED
    :: else
    fi
}

inline abort_all()
{
    k = 0;
    do
    :: k < D ->
        if
        :: c[k].known -> fire(k, ON_ABORT); follow(k)
        :: else
        fi;
        k++
    :: else -> break
    od
}

/* 5. */
#define LISTENER_CAN(row) (AFTER(row, listener) != ILLEGAL)
#define NO_DESCRIPTOR (scarce || SUM(USED) == D)

inline listener_fire(row)
{
    MUST(transition_is_legal, LISTENER_CAN(row));
    did = 1;
    listener = AFTER(row, listener);
    listener_watched = LISTENER_READS(listener)
}

inline accept()
{
    batch = 0;
    do
    :: batch < ACCEPTS && LISTENER_READS(listener) ->
        batch++;
        STEP {
            if
            :: !ROOM && LISTENER_CAN(L_ON_FILL) -> listener_fire(L_ON_FILL)
            :: else
            fi
        }
        if
        :: !LISTENER_READS(listener) || backlog == 0 -> break
        :: LISTENER_READS(listener) && backlog > 0 && NO_DESCRIPTOR -> exhaust(); break
        :: LISTENER_READS(listener) && backlog > 0 && !NO_DESCRIPTOR -> welcome()
        :: LISTENER_READS(listener) && backlog > 0 && !NO_DESCRIPTOR -> backlog--; did = 1  /* ECONNABORTED, or the peer had gone */
        fi
    :: else -> break
    od;
    batch = 0
}

inline exhaust()
{
    STEP {
        if
        :: LISTENER_CAN(L_ON_EXHAUST) ->
            listener_fire(L_ON_EXHAUST);
            backoff = (NO_BACKOFF -> NOT_RUNNING : RUNNING)
        :: else  /* it is exhausted already */
        fi
    }
}

inline welcome()
{
    STEP {
        backlog--;
        did = 1;
        if
        :: ROOM ->
            k = 0;
            do
            :: c[k].used -> k++
            :: else -> break
            od;
            admit(k)
        :: else  /* refused: accepted and closed at once */
        fi
    }
}

/* 6. */
inline perform_closes()
{
    if
    :: SUM(DYING) > 0 ->
        k = 0;
        do
        :: k < D ->
            if
            :: c[k].dying -> bury(k)
            :: else
            fi;
            k++
        :: else -> break
        od;
        relieve()
    :: else
    fi
}

inline relieve()
{
    if
    :: ROOM && LISTENER_CAN(L_ON_RELIEVE) && !FULL_IS_NOT_RELIEVED -> listener_fire(L_ON_RELIEVE)
    :: else
    fi
}

inline stop_listening()
{
    stop = DRAINING;
    if
    :: LISTENER_CAN(L_ON_DRAIN) && !STOP_ACCEPTS ->
        listener_fire(L_ON_DRAIN);
        listener_fire(L_ON_CLOSE);
        backlog = 0;
        listener_report = 0
    :: else
    fi
}

inline end_of_round()
{
    perform_closes();
    at = WAITING;
    did = 1;
    listener_report = 0;
    if
    :: stop == DRAINING && SUM(KNOWN) == 0 -> stop = STOPPED
    :: else
    fi;
    check()
}

/* Outside of reports the application is called by its own timers, each in a round of its own. */
inline timer(j)
{
    took = 0;
    ran = DEADLINE_NOW(j);
    callback(j);
    settle(j);
    end_of_round()
}

/* A stopping server closes who is quiet: nothing came for a while, nothing is to be sent. */
#define QUIET(j) (stop == DRAINING && c[j].known && c[j].box == 0 && !(c[j].holds & H_FINISHING))

inline close_quiet(j)
{
    took = 0;
    ran = DEADLINE_NOW(j);
    close_gracefully(j);
    settle(j);
    end_of_round()
}

/* What the application does when bytes came, when the end of the stream came, and when its timer rings. */
#define DELIVERS (READS_NOW(at) && c[at].in > 0 && !(c[at].holds & H_FINISHING))
#define DELIVERS_THE_END (READS_NOW(at) && c[at].in == 0 && !c[at].rst && c[at].fin && !(c[at].holds & H_FINISHING))
#define OPEN(j) (c[j].known && c[j].state != ACCEPTED)

inline choose_in_data_received()
{
    if
    :: c[at].state != ACCEPTED -> act = A_WRITE
#ifdef SILENT
    :: act = A_NOTHING
#endif
#ifdef HANDSHAKE
    :: c[at].state == ACCEPTED -> act = A_OPEN
    :: c[at].state == ACCEPTED -> act = A_NOTHING
#endif
#ifdef BURSTS
    :: c[at].state != ACCEPTED -> act = A_WRITE_MUCH
#endif
#ifdef PAUSES
    :: c[at].state != ACCEPTED -> act = A_PAUSE
#endif
#ifdef CLOSES
    :: c[at].state != ACCEPTED -> act = A_CLOSE
#endif
#ifdef ENDS
    :: c[at].state != ACCEPTED && !c[at].sealed -> act = A_WRITE_EOF
#endif
#ifdef ABORTS
    :: act = A_ABORT
#endif
#ifdef MEDDLES
    :: c[at].state != ACCEPTED -> act = A_ABORT_NEXT
#if D > 2
    :: c[at].state != ACCEPTED -> act = A_ABORT_LAST
#endif
#endif
    fi
}

inline choose_in_eof_received()
{
    if
    :: act = A_NOTHING
#ifdef CLOSES
    :: act = A_WRITE
#endif
#ifdef HALF_OPEN
    :: act = A_HALF_OPEN
#endif
    fi
}

active proctype Server()
{
end:
    do
    :: atomic { at == WAITING && stop != STOPPED && (SUM(REPORTED) > 0 || BACKLOG_REPORTED || SOMETHING_IS_DUE) -> STEP { take_reports() } }
#ifdef URGENT
    :: atomic { HAS(REPORT_EXCEPTIONAL) -> STEP { serve_exceptional() } }
#endif
    :: atomic { HAS(REPORT_WRITE) && !HAS(REPORT_EXCEPTIONAL) -> STEP { serve_writable() } }
    :: atomic {
        HAS(REPORT_READ + REPORT_HANGUP + REPORT_ERROR) && !HAS(REPORT_EXCEPTIONAL + REPORT_WRITE) ->
        if
        :: DELIVERS -> choose_in_data_received()
        :: DELIVERS_THE_END -> choose_in_eof_received()
        :: else -> act = A_NOTHING
        fi;
        STEP { serve_readable() }
    }
    :: atomic {
        at == END ->
        STEP { run_due() }
        if
        :: stop == ASKED -> accept(); STEP { stop_listening() }
        :: stop != ASKED && listener_report -> accept()
        :: else
        fi;
        STEP { MUST(round_does_something, did); end_of_round() }
    }
    od
}
