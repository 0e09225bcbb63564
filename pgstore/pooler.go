package pgstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// pooling is what a pooler between us and the server does with sessions.
type pooling int

const (
	// unpooled: a connection is a session of the server.
	unpooled pooling = iota
	// pooledBySession: a connection has a session of the server for as long as it lives.
	pooledBySession
	// pooledByTransaction: each transaction may have another session. What is said in a session (a
	// lock, a setting, listen) is lost, or somebody else's.
	pooledByTransaction
)

const (
	// poolingRounds is how many times a pooler is tempted to give a session away.
	poolingRounds = 3
	// poolingPatience bounds all of them. A pooler that has no session left lets clients wait.
	poolingPatience = 3 * time.Second
)

// poolingOf reports what is between a connection and the server. A pooler makes up the number by
// which a connection is cancelled; the server's is the process that answers.
//
// The modes of a pooler look the same until a second client comes. A pooler takes an idle session
// before it makes a new one: if c's session is idle for it between two transactions of c, a second
// client's open transaction has it. In doubt the answer is by transaction, by which no lock is
// believed.
func poolingOf(ctx context.Context, c *pgx.Conn, dial func(context.Context) (*pgx.Conn, error)) (pooling, error) {
	pid, err := backendPID(ctx, c, "")
	if err != nil {
		return unpooled, err
	}
	if pid == c.PgConn().PID() {
		return unpooled, nil
	}
	ctx, cancel := context.WithTimeout(ctx, poolingPatience)
	defer cancel()
	if givesAway(ctx, c, pid, dial) {
		return pooledByTransaction, nil
	}
	return pooledBySession, nil
}

// givesAway reports whether a pooler gives the session pid of a client to others, or may do so: it
// has none for a second client, or takes no transactions of several statements.
func givesAway(ctx context.Context, c *pgx.Conn, pid uint32, dial func(context.Context) (*pgx.Conn, error)) bool {
	var others []*pgx.Conn // open until the last has been asked
	defer func() {
		for _, other := range others {
			_ = other.Close(ctx) // its transaction has done nothing
		}
	}()
	for range poolingRounds {
		other, err := dial(ctx)
		if err != nil {
			return true
		}
		others = append(others, other)
		theirs, err := backendPID(ctx, other, "begin;")
		if err != nil || theirs == pid {
			return true
		}
		now, err := backendPID(ctx, c, "")
		if err != nil || now != pid {
			return true
		}
	}
	return false
}

// backendPID asks for the process that answers, after some other statement.
func backendPID(ctx context.Context, c *pgx.Conn, before string) (uint32, error) {
	results, err := c.PgConn().Exec(ctx, before+`select pg_backend_pid()`).ReadAll()
	if err != nil {
		return 0, err
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		return 0, errors.New("the server does not tell its process")
	}
	pid, err := strconv.ParseUint(string(last.Rows[0][0]), 10, 32)
	return uint32(pid), err
}
