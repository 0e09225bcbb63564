package pgstore

import (
	"log/slog"
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
		"application_name": "lastcall locks",
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

// awaitSession waits until something is true of a session; its mutex is held meanwhile.
func awaitSession(t *testing.T, s *session, what func() bool) {
	t.Helper()
	ctx := soon(t)
	s.await(ctx, what)
	if ctx.Err() != nil {
		t.Fatal("the session did not get there within a minute")
	}
}

// awaitUp waits until a store's session is there.
func awaitUp(t *testing.T, s *Store) {
	t.Helper()
	s.session.begin()
	awaitSession(t, s.session, func() bool { return s.session.phase == phaseUp })
}
