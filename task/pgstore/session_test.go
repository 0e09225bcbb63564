package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestSession_OutlivesTheServersLimitsAndNoticesAVanishedPeer(t *testing.T) {
	server := pgtest.New(t, "fsync=off", "statement_timeout=1s", "lock_timeout=1s", "idle_session_timeout=1s", "tcp_keepalives_idle=7200")
	port := server.Listen(t, nil, nil) // a Unix socket has no keepalives
	s := openAt(t, Config{DSN: "postgres://lastcall@127.0.0.1:" + port + "/postgres?sslmode=disable", Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	c, _, err := s.session.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for name, want := range map[string]string{
		"statement_timeout": "3s", "lock_timeout": "1s", "idle_session_timeout": "0", "client_connection_check_interval": "5s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", "tcp_user_timeout": "20000",
		"application_name": s.session.name, "search_path": ownPath,
	} {
		var got string
		if err := c.QueryRow(t.Context(), `show `+pgx.Identifier{name}.Sanitize()).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// eventually waits until a question to the server is answered with true.
func eventually(t *testing.T, dsn, question string) bool {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := soon(t); ; <-tick.C {
		var yes bool
		if err := c.QueryRow(t.Context(), question).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes || deadline.Err() != nil {
			return yes
		}
	}
}

// awaitSession waits until a condition is true of a session. It holds the mutex of the session
// while it checks.
func awaitSession(t *testing.T, s *session, what func() bool) {
	t.Helper()
	ctx := soon(t)
	s.await(ctx, what)
	if ctx.Err() != nil {
		t.Fatal("the session did not get there within a minute")
	}
}

// awaitUp waits until a store's session is connected.
func awaitUp(t *testing.T, s *Store) {
	t.Helper()
	s.session.begin()
	awaitSession(t, s.session, func() bool { return s.session.phase == phaseUp })
}

func TestSession_RunsARequestAgainOnASpareConnectionWhenItIsLostInTheMiddle(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	awaitUp(t, s)
	var pids []uint32
	err := s.session.exec(t.Context(), func(ctx context.Context, c *pgx.Conn) error {
		pids = append(pids, c.PgConn().PID())
		if len(pids) == 1 {
			_, err := c.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
			return err
		}
		return nil
	})
	if err != nil || len(pids) != 2 || pids[0] == pids[1] {
		t.Errorf("sessions %d, %v", pids, err)
	}
	awaitSession(t, s.session, func() bool { return s.session.phase == phaseUp && !s.session.lost.IsZero() })
	if lost := s.session.lostFor(); lost == 0 || lost == forever {
		t.Errorf("lost %v ago", lost)
	}
	if err := s.session.exec(t.Context(), func(_ context.Context, c *pgx.Conn) error { pids = append(pids, c.PgConn().PID()); return nil }); err != nil || len(pids) != 3 {
		t.Fatal(pids, err)
	}
	if pids[2] == pids[0] || pids[2] == pids[1] {
		t.Errorf("sessions %d: the last should be the new one", pids)
	}
}

func TestSession_KeepsItsConnectionWhenARequestFailsOrItsCallerLeaves(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	awaitUp(t, s)
	wrong := func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `select 1/0`)
		return err
	}
	if err := s.session.exec(t.Context(), wrong); err == nil {
		t.Error("no error")
	}
	ctx, leave := context.WithCancel(t.Context())
	running, release := make(chan struct{}), make(chan struct{})
	left := make(chan error)
	go func() {
		left <- s.session.exec(ctx, func(context.Context, *pgx.Conn) error { close(running); <-release; return nil })
	}()
	<-running
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left: %v", err)
	}
	close(release)
	if err := s.session.exec(t.Context(), func(ctx context.Context, c *pgx.Conn) error { return c.Ping(ctx) }); err != nil {
		t.Error(err)
	}
	if s.session.lostFor() != forever {
		t.Error("the connection was lost")
	}
}

func TestSession_EndsARequestThatWaitsForSomebodysLock(t *testing.T) {
	t.Parallel()
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beat := beatAt(t, s, 15*time.Second)
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), `begin; lock table lastcall.workers`); err != nil {
		t.Fatal(err)
	}
	if err := beat(t.Context()); err == nil || !strings.Contains(err.Error(), codeLockNotAvailable) {
		t.Errorf("%v", err)
	}
	if s.session.lostFor() != forever {
		t.Error("the session was lost for it")
	}
	if _, err := c.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	if err := beat(t.Context()); err != nil {
		t.Error(err)
	}
}

// A worker that is killed soon after its session is back must not look alive for a whole lease.
func TestSession_ThatIsBackIsNotWithdrawnByWhatComesLate(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beatAt(t, s, 15*time.Second)
	endSession(t, dsn, s)
	awaitSession(t, s.session, func() bool { return s.session.connection > 1 && s.session.recorded["w"] })
	evidence := func() (is bool) {
		if err := s.pool.QueryRow(t.Context(), `select boot is not null from lastcall.workers`).Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if s.session.withdraw([]string{"w"}, s.session.connection-1); !evidence() {
		t.Error("the session that is back is no evidence")
	}
	if s.session.withdraw([]string{"w"}, s.session.connection); evidence() {
		t.Error("the session that was lost is evidence")
	}
}

func TestSession_IsEvidenceAgainOnceItTurnsOutThatTheMachineWasSlow(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beatAt(t, s, 15*time.Second)
	s.session.mu.Lock()
	s.session.trust, s.session.confirm = farAway, 0 // as if connecting had taken two seconds
	s.session.mu.Unlock()
	for range 50 { // until the machine is quick
		err := s.session.exec(t.Context(), func(ctx context.Context, c *pgx.Conn) error {
			return s.session.check(ctx, c, c.PgConn().PID())
		})
		if err != nil {
			t.Fatal(err)
		}
		s.session.mu.Lock()
		trust, confirm := s.session.trust, s.session.confirm
		s.session.mu.Unlock()
		if trust == trusted && confirm >= minConfirm {
			return
		}
	}
	t.Error("the session is never evidence")
}

func TestSession_ThatIsClosedBeforeItBeginsDoesNotBegin(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true})
	closed(t, s)
	s.session.begin()
	if s.session.isUp() {
		t.Error("it is up")
	}
}
