package proxy

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// real is a proxy with a real server.
type real struct {
	*testing.T
	*Proxy
	role, database string
}

// newReal returns a proxy on the loopback interface that leads to the test's server.
func newReal(t *testing.T) *real {
	t.Helper()
	cfg, err := pgx.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(cfg.Host, "/") {
		t.Skip("the proxy leads to a server on a Unix socket")
	}
	r := &real{T: t, Proxy: New(""), role: cfg.User, database: cfg.Database}
	r.Lead(cfg.Host + "/.s.PGSQL.5432")
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// connect connects a process.
func (r *real) connect(name string) *pgx.Conn {
	r.Helper()
	f, err := r.Front(name)
	if err != nil {
		r.Fatal(err)
	}
	address, err := url.Parse(f.Address(r.role, r.database))
	if err != nil {
		r.Fatal(err)
	}
	c, err := pgx.Connect(r.Context(), address.String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close(context.WithoutCancel(r.Context())) }) // it may have been cut
	return c
}

func (r *real) exec(c *pgx.Conn, sql string) {
	r.Helper()
	if _, err := c.Exec(r.Context(), sql); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

func TestLoseAnswers_TheServerHasCommittedAndTheClientDoesNotKnow(t *testing.T) {
	r := newReal(t)
	other := r.connect("other")
	r.exec(other, `create table t (n integer)`)
	end := r.LoseAnswers(100, "a")
	lose := func(do func(c *pgx.Conn) error) {
		t.Helper()
		if err := do(r.connect("a")); err == nil {
			t.Error("the client was told")
		}
	}
	lose(func(c *pgx.Conn) error { // the extended protocol, prepared first
		_, err := c.Exec(t.Context(), `insert into t values ($1)`, 1)
		return err
	})
	lose(func(c *pgx.Conn) error {
		tx, err := c.Begin(t.Context())
		if err == nil {
			_, err = tx.Exec(t.Context(), `insert into t values (2)`)
		}
		if err != nil {
			t.Fatal(err)
		}
		return tx.Commit(t.Context())
	})
	lose(func(c *pgx.Conn) error {
		_, err := c.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"n"}, pgx.CopyFromRows([][]any{{int32(3)}}))
		return err
	})
	lose(func(c *pgx.Conn) error {
		var n int
		return c.QueryRow(t.Context(), `with w as (insert into t values (4) returning n) select n from w`).Scan(&n)
	})
	lose(func(c *pgx.Conn) error {
		var b pgx.Batch
		b.Queue(`insert into t values (5)`)
		b.Queue(`insert into t values (6)`)
		return c.SendBatch(t.Context(), &b).Close()
	})
	if n := end(); n != 5 {
		t.Errorf("%d answers were lost", n)
	}
	var n int
	if err := other.QueryRow(t.Context(), `select count(*) from t`).Scan(&n); err != nil || n != 6 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestLoseCancels_TheServerGoesOnWithTheStatement(t *testing.T) {
	r := newReal(t)
	for _, lost := range []bool{false, true} {
		c := r.connect("a")
		end := func() int { return 0 }
		if lost {
			end = r.LoseCancels()
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.Exec(t.Context(), `select pg_sleep(1)`)
			ended <- err
		}()
		other := r.connect("other")
		for running := false; !running; {
			if err := other.QueryRow(t.Context(), `select exists (select from pg_stat_activity where query = 'select pg_sleep(1)' and state = 'active')`).Scan(&running); err != nil {
				t.Fatal(err)
			}
		}
		// The end of its connection is all that a client sees.
		if err := c.PgConn().CancelRequest(t.Context()); err != nil {
			t.Errorf("the request: %v", err)
		}
		if err := <-ended; (err == nil) != lost {
			t.Errorf("lost %v: the statement: %v", lost, err)
		}
		if n := end(); (n == 1) != lost {
			t.Errorf("%d were lost", n)
		}
	}
}

func TestDelay_IsTheRoundTripOfAStatement(t *testing.T) {
	r := newReal(t)
	c := r.connect("a")
	const each = 40 * time.Millisecond
	r.Delay(each, each)
	began := time.Now()
	for range 3 {
		r.exec(c, `select 1`)
	}
	if took := time.Since(began); took < 3*2*each {
		t.Errorf("three round trips took %v", took)
	}
}
