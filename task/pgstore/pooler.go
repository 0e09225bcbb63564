package pgstore

import (
	"context"
	"errors"
	"math/rand/v2"
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
// before it makes a new one. So if c's session is given away between two transactions of c, either
// a second client of ours gets it, or somebody else has, and the last statement there is not c's.
// In doubt the answer is by transaction, in which no session is believed.
func poolingOf(ctx context.Context, c *pgx.Conn, dial func(context.Context) (*pgx.Conn, error)) (pooling, error) {
	pid, err := backendPID(ctx, c)
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
		name := "lastcall_probe_" + strconv.FormatUint(rand.Uint64(), 36)
		now, err := askText(ctx, c, `select pg_catalog.pg_backend_pid() as `+name)
		if err != nil || now != formatPID(pid) {
			return true
		}
		other, err := dial(ctx)
		if err != nil {
			return true
		}
		others = append(others, other)
		theirs, err := askText(ctx, other, `begin; select pg_catalog.pg_backend_pid()`)
		if err != nil || theirs == now {
			return true
		}
		untouched, err := askText(ctx, other, `select coalesce(pg_catalog.bool_or(state = 'idle' and query like '%`+name+`%'), false) from pg_catalog.pg_stat_activity where pid = `+now)
		if err != nil || untouched != "t" {
			return true
		}
	}
	return false
}

// backendPID asks for the process that answers.
func backendPID(ctx context.Context, c *pgx.Conn) (uint32, error) {
	text, err := askText(ctx, c, `select pg_catalog.pg_backend_pid()`)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.ParseUint(text, 10, 32)
	return uint32(pid), err
}

func formatPID(pid uint32) string { return strconv.FormatUint(uint64(pid), 10) }

// askText runs statements that answer last with one text.
func askText(ctx context.Context, c *pgx.Conn, statements string) (string, error) {
	results, err := c.PgConn().Exec(ctx, statements).ReadAll()
	if err != nil {
		return "", err
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || len(last.Rows[0]) != 1 {
		return "", errors.New("the server does not answer what it was asked: is it PostgreSQL?")
	}
	return string(last.Rows[0][0]), nil
}
