package pgstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// pooling is how a pooler between this process and the server assigns sessions.
type pooling int

const (
	// unpooled: there is no pooler; a connection is a session of the server.
	unpooled pooling = iota
	// pooledBySession: a connection has the same session of the server for all its life.
	pooledBySession
	// pooledByTransaction: each transaction may run in another session. The state of a session (a
	// lock, a setting, listen) is lost, or becomes that of another client.
	pooledByTransaction
)

const (
	// poolingRounds is how many times the test offers a pooler a session to reassign.
	poolingRounds = 3
	// poolingPatience bounds all rounds: a pooler without a free session makes clients wait.
	poolingPatience = 3 * time.Second
)

// poolingOf reports which kind of pooler is between a connection and the server. A pooler invents
// the number by which a connection is cancelled; the server's own number is that of the process
// that answers. So if they are the same there is no pooler.
//
// The modes of a pooler look the same until a second client comes. A pooler uses an idle session
// before it opens a new one. So if the pooler reassigns the session of c between two transactions
// of c, then either a second client of this process gets that session, or another client has it,
// and the last statement in it is not that of c. In doubt the answer is pooledByTransaction, with
// which no session is evidence.
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

// givesAway reports whether a pooler assigns the session of a client, whose process is pid, to
// others. It also returns true if the pooler may do so: it has no session for a second client, or
// refuses transactions of several statements.
func givesAway(ctx context.Context, c *pgx.Conn, pid uint32, dial func(context.Context) (*pgx.Conn, error)) bool {
	var others []*pgx.Conn // stay open until the last one has answered
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

// backendPID returns the number of the server process that answers.
func backendPID(ctx context.Context, c *pgx.Conn) (uint32, error) {
	text, err := askText(ctx, c, `select pg_catalog.pg_backend_pid()`)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.ParseUint(text, 10, 32)
	return uint32(pid), err
}

func formatPID(pid uint32) string { return strconv.FormatUint(uint64(pid), 10) }

// askText runs statements of which the last one returns a single text.
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
