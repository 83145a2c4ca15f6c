/* The connection's machine, and the system calls made for it. `j` is always a descriptor.
 *
 * Each inline is part of one step of the server: nobody sees what is in between. Whatever moves the machine goes through
 * `fire`; `settle` afterwards makes the world follow it.
 */

/* What the application can do when it is called. */
#define A_NOTHING 0
#define A_OPEN 1        /* the handshake is done */
#define A_WRITE 2
#define A_WRITE_MUCH 3
#define A_PAUSE 4
#define A_CLOSE 5       /* after a last word */
#define A_WRITE_EOF 6
#define A_ABORT 7
#define A_ABORT_NEXT 8  /* another connection's, */
#define A_ABORT_LAST 9  /* or that of the third */
#define A_HALF_OPEN 10
#define A_RESUME 11

/* Move along the table: the row's event happened. */
inline fire(j, row)
{
    next = AFTER(row, c[j].state);
    MUST(transition_is_legal, next != ILLEGAL);
    did = 1;
    c[j].state = next;
    c[j].graceful = (row == ON_FINISH);
    if
    :: next == CLOSED ->
        MUST(graceful_loses_nothing, row != ON_FINISH || c[j].box == 0);
        c[j].owed = c[j].owed - c[j].box;
        c[j].box = 0
    :: else
    fi
}

inline finish_if_nothing_is_owed(j)
{
    if
    :: OWES_NOTHING(c[j].state, c[j].holds) || (NO_LINGERING && c[j].state == READING && (c[j].holds & H_FINISHING)) ->
        fire(j, ON_FINISH)
    :: else
    fi
}

/* Send what is owed, then FIN, then wait for the peer's. Before `open` there is nothing to be graceful about. */
inline close_gracefully(j)
{
    if
    :: c[j].state == ACCEPTED -> fire(j, ON_ABORT)
    :: c[j].state != ACCEPTED && c[j].state != CLOSED && !(c[j].holds & H_FINISHING) ->
        c[j].sealed = 1;
        c[j].holds = c[j].holds | H_FINISHING;
        finish_if_nothing_is_owed(j)
    :: else
    fi
}

/* Put `many` units into the outbox. What comes after the end of the stream or of the connection is dropped. */
inline enqueue(j, many)
{
    if
    :: c[j].sealed || c[j].state == CLOSED || c[j].state == ACCEPTED
    :: else ->
        if
        :: c[j].box + many > CAP ->
            MUST(pressure_protects_an_echo, at == WAITING);  /* only who writes unasked can overflow it */
            fire(j, ON_ABORT)
        :: else ->
#ifdef ORDER
            n = many;
            do
            :: n > 0 ->
                c[j].line = c[j].line | (c[j].tail << (c[j].box + many - n));
                c[j].tail = 1 - c[j].tail;
                n--
            :: else -> break
            od;
#endif
            c[j].box = c[j].box + many;
            c[j].owed = c[j].owed + many;
            fire(j, ON_ENQUEUE);
            if
            :: c[j].box > HIGH && !NO_PRESSURE -> c[j].holds = c[j].holds | H_BACKPRESSURE
            :: else
            fi
        fi
    fi
}

/* The kernel has taken `n` units: none if its buffer is full. */
inline sent(j)
{
    c[j].out = c[j].out + n;
    c[j].owed = c[j].owed - n;
#ifdef ORDER
    k = n;
    do
    :: k > 0 ->
        next = (TAKES_THE_LAST_FIRST -> (c[j].line >> (c[j].box - 1)) & 1 : c[j].line & 1);
        MUST(bytes_keep_their_order, next == c[j].head);
        c[j].line = c[j].line >> 1;
        c[j].head = 1 - c[j].head;
        k--
    :: else -> break
    od;
#endif
    if
    :: n > 0 ->
        did = 1;
        took = took || (j == SEEN);
        c[j].late = c[j].late && !RENEWED_BY_TAKEN(c[j].state, c[j].holds)
    :: else
    fi;
    c[j].box = (FORGETS_THE_REST -> 0 : c[j].box - n + (SENDS_AGAIN && n > 0));
    if
    :: (c[j].holds & H_BACKPRESSURE) && c[j].box <= LOW && !PRESSURE_STAYS -> c[j].holds = c[j].holds - H_BACKPRESSURE
    :: else
    fi;
    if
    :: c[j].box == 0 ->
        fire(j, ON_DRAIN);
        if
        :: c[j].sealed && (c[j].holds & H_EOF) -> close_gracefully(j)
        :: else
        fi;
        finish_if_nothing_is_owed(j)
    :: else
    fi
}

/* Offer the outbox to the kernel, once. */
inline offer(j)
{
    fire(j, ON_FLUSH);
    if
    :: c[j].rst -> fire(j, ON_RESET)
    :: else ->
        n = (c[j].box < TAKEN - c[j].out -> c[j].box : TAKEN - c[j].out);
        sent(j)
    fi
}

/* Forget a closed connection at once; its socket is closed at the end of the round. */
inline retire(j)
{
    MUST(one_close, c[j].used && !c[j].dying);
    c[j].known = 0;
    c[j].watched = I_NOTHING;
    c[j].muted = 0;
    c[j].armed = TIMER_STAYS;
    c[j].late = 0;
    c[j].dying = 1;
    if
    :: CLOSES_AT_ONCE -> bury(j)
    :: else
    fi
}

/* Call `connection_lost`, close the socket, and let go of everything. The number can be used again. */
inline bury(j)
{
    MUST(one_close, c[j].used);
    /* With something unread the kernel sends a reset instead of a FIN, and the peer may lose what it has not read. */
    MUST(reply_is_not_reset, !c[j].graceful || (c[j].in == 0 && c[j].ended));
    c[j].used = 0;
    c[j].in = 0;
    c[j].fin = 0;
    c[j].rst = 0;
    c[j].urgent = 0;
    c[j].out = 0;
    c[j].shut = 0;
    c[j].gone = 0;
    c[j].deaf = 0;
    c[j].mute = 0;
    c[j].holds = 0;
    c[j].sealed = 0;
    c[j].lingered = 0;
    c[j].dying = 0;
    c[j].ended = 0;
    c[j].graceful = 0;
    c[j].stale = (c[j].report != 0);
#ifdef ORDER
    c[j].line = 0;
    c[j].tail = 0;
    c[j].head = 0;
#endif
}

/* Bring registration, deadline and the socket's own state in line with the machine. */
inline follow(j)
{
    if
    :: c[j].state == CLOSED && (c[j].known || CLOSES_TWICE) -> retire(j)
    :: c[j].state == CLOSED && !c[j].known && !CLOSES_TWICE
    :: else ->
        if
        :: c[j].sealed && c[j].state == READING && !FIN_IS_FORGOTTEN -> c[j].shut = 1  /* a second time changes nothing */
        :: else
        fi;
        if
        :: c[j].watched != INTEREST_NOW(j) && !(OUTPUT_STAYS && INTEREST_NOW(j) == I_READ) ->
            c[j].watched = INTEREST_NOW(j);
            c[j].muted = 0
        :: else
        fi;
        if
        :: DEADLINE_NOW(j) != ran -> c[j].late = 0  /* another limit runs, from now on */
        :: else
        fi
    fi
}

/* What was written in a callback is offered when that has returned. */
inline settle(j)
{
#ifndef LAZY
    if
    :: c[j].state == QUEUED -> offer(j)
    :: else
    fi;
#endif
    follow(j)
}

/* The kernel gave us a socket. */
inline admit(j)
{
    c[j].used = 1;
    c[j].known = 1;
    c[j].state = ACCEPTED;
    c[j].armed = !NO_DEADLINE_AT_ACCEPT;
    ran = DEADLINE_NOW(j);
    did = 1;
#ifndef HANDSHAKE
    fire(j, ON_OPEN);
#endif
    follow(j)
}

/* recv brought a unit; `act` is what the application does when it is told. */
inline receive(j)
{
    c[j].in--;
    fire(j, ON_RECEIVE);
    c[j].late = c[j].late && !RENEWED_BY_RECEIVED(c[j].state, c[j].holds) && !STALL_IS_RENEWED_BY_RECEIVING;
    if
    :: (c[j].holds & H_FINISHING) && c[j].lingered == LINGER && !LINGERS_ON -> fire(j, ON_ABORT)
    :: (c[j].holds & H_FINISHING) && !(c[j].lingered == LINGER && !LINGERS_ON) ->
        MUST(lingering_is_bounded, c[j].lingered < LINGER);
        c[j].lingered++
    :: else -> callback(j)
    fi
}

/* recv brought nothing: the end of the stream. With A_HALF_OPEN the application keeps the connection half open. */
inline end_of_stream(j)
{
    MUST(eof_comes_once, !c[j].ended);
    c[j].ended = 1;
    if
    :: EOF_ENDS_AT_ONCE -> fire(j, ON_FINISH)
    :: else -> fire(j, ON_EOF)
    fi;
    if
    :: c[j].state == CLOSED  /* in `accepted` */
    :: else ->
        c[j].holds = c[j].holds | (EOF_IS_NOT_HELD -> 0 : H_EOF);
        if
        :: c[j].holds & H_FINISHING -> finish_if_nothing_is_owed(j)
        :: else ->
            callback(j);
            if
            :: act != A_HALF_OPEN || (c[j].sealed && c[j].box == 0) -> close_gracefully(j)
            :: else
            fi
        fi
    fi
}

/* The application is called, and does `act`. */
inline callback(j)
{
    if
    :: act == A_OPEN -> fire(j, ON_OPEN)
    :: act == A_WRITE -> enqueue(j, 1)
    :: act == A_WRITE_MUCH -> enqueue(j, 2)
    :: act == A_PAUSE -> c[j].holds = c[j].holds | H_PAUSED
    :: act == A_RESUME -> c[j].holds = c[j].holds & (ALL_HOLDS - H_PAUSED)
    :: act == A_CLOSE -> enqueue(j, 1); close_gracefully(j)
    :: act == A_WRITE_EOF ->
        c[j].sealed = 1;
        if
        :: (c[j].holds & H_EOF) && c[j].box == 0 -> close_gracefully(j)
        :: else
        fi
    :: act == A_ABORT -> fire(j, ON_ABORT)
    :: act == A_ABORT_NEXT || act == A_ABORT_LAST ->
        other = (j + act - A_ABORT_NEXT + 1) % D;
        if
        :: c[other].known -> fire(other, ON_ABORT); follow(other)
        :: else
        fi
    :: else
    fi
}
