package pgstore

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// stranger returns an address of the database for a role that may connect to it, and has no other
// right.
func stranger(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	dsn := server.DSN("postgres")
	exec(t, dsn, `create role stranger login`)
	return strings.Replace(dsn, "lastcall@", "stranger@", 1)
}

// wants opens a connection that waits for each advisory lock that is held in the database, and
// takes it as soon as it is free.
func wants(t *testing.T, dsn string) (stop func()) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	rows, err := c.Query(t.Context(), `select classid::bigint, objid::bigint, objsubid from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() and not exists (
		select 1 from pg_stat_activity a where a.pid = pg_locks.pid and a.usename = 'stranger')`)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		Class, Object int64
		Sub           int16
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[key])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d advisory locks are held by others", len(keys))
	ctx, end := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for _, k := range keys {
		waiting.Go(func() {
			c, err := pgx.Connect(ctx, dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(context.WithoutCancel(ctx))
			take, args := `select pg_advisory_lock(($1::bigint << 32) | $2::bigint)`, []any{k.Class, k.Object}
			if k.Sub == 2 {
				take = `select pg_advisory_lock(($1::bigint << 32 >> 32)::integer, ($2::bigint << 32 >> 32)::integer)`
			}
			if _, err := c.Exec(ctx, take, args...); err == nil {
				<-ctx.Done()
			}
		})
	}
	return func() { end(); waiting.Wait() }
}

func TestStranger_WhoHoldsAdvisoryLocksHoldsUpNobody(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off", "max_locks_per_transaction=256")
	theirs, quiet := stranger(t, server), slog.New(slog.DiscardHandler)
	c, err := pgx.Connect(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	// What a migration took, and what anybody may guess before there is a schema.
	if _, err := c.Exec(t.Context(), `select pg_advisory_lock(n), pg_advisory_lock(1818325876, n), pg_advisory_lock(1818325876, hashtext('lastcall')) from generate_series(-100, 400) n`); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := Open(short, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: quiet, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatalf("a migration: %v", err)
	}
	defer closed(t, a)
	if _, err := c.Exec(t.Context(), `select pg_advisory_lock('lastcall'::regnamespace::oid::integer, n), pg_advisory_lock(hashtextextended('counts', 'lastcall'::regnamespace::oid::bigint))
		from generate_series(-1, 400) n`); err != nil {
		t.Fatal(err)
	}
	b := openAt(t, Config{DSN: server.DSN("postgres"), Logger: quiet})
	defer closed(t, b)
	beatAt(t, a, 15*time.Second)
	awaitRecorded(t, a)
	stop := wants(t, theirs)
	defer stop()

	if _, err := b.Add(t.Context(), []task.NewTask{{ID: testID(1), Kind: "k"}, {ID: testID(2), Kind: "k", Key: "key"}}); err != nil {
		t.Errorf("a submit: %v", err)
	}
	got, err := a.Claim(t.Context(), claimOf(2))
	if err != nil || len(got) != 2 {
		t.Fatalf("a claim: %d, %v", len(got), err)
	}
	if err := a.Apply(t.Context(), []task.Change{success(got[0])})[0]; err != nil {
		t.Errorf("an end: %v", err)
	}
	for n := range 5 {
		if _, err := b.Add(t.Context(), []task.NewTask{{ID: testID(10 + n), Kind: "k"}}); err != nil {
			t.Error(err)
		}
	}
	mustExec(t, b, b.q.CompactCounts, int64(1))
	if rows := ask(t, server.DSN("postgres"), `select count(*) from lastcall.counts where status = 'added'`); rows != 1 {
		t.Errorf("%d rows of one count after they were added up", rows)
	}
	endSession(t, server.DSN("postgres"), a) // and the stranger takes what it held
	awaitSession(t, a.session, func() bool { return !a.session.lost.IsZero() })
	awaitRecorded(t, a)
	if life := lifeOf(t, b).Liveness; life != task.LivenessAlive {
		t.Errorf("%s, with its session made again", life)
	}
	a.end() // as if it had been killed
	if took := untilDead(t, b); took > 5*time.Second {
		t.Errorf("its death was certain after %v", took)
	}
	left, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 10})
	if err != nil || len(left.Tasks) != 1 {
		t.Errorf("taken over: %+v, %v", left, err)
	}
}

// Another role can read the name of a session in pg_stat_activity, and give it to its own.
func TestStranger_WhoTakesTheNameOfASessionDoesNotKeepItsWorkersAlive(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	theirs, quiet := stranger(t, server), slog.New(slog.DiscardHandler)
	a := openAt(t, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: quiet})
	defer closed(t, a)
	b := openAt(t, Config{DSN: server.DSN("postgres"), Logger: quiet})
	defer closed(t, b)
	beatAt(t, a, 15*time.Second)
	awaitRecorded(t, a)
	c, err := pgx.Connect(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var taken string
	if err := c.QueryRow(t.Context(), `select set_config('application_name', application_name, false) from pg_stat_activity where application_name = $1`, a.session.name).Scan(&taken); err != nil || taken != a.session.name {
		t.Fatalf("the name is %q, %v", taken, err)
	}
	a.end() // as if it had been killed
	if took := untilDead(t, b); took > 5*time.Second {
		t.Errorf("its death was certain after %v", took)
	}
}

// NOTIFY needs no right, and an announcement makes an idle worker ask the server.
func TestStranger_WhoNotifiesInALoopKeepsNoWorkerBusy(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	theirs := stranger(t, server)
	s := openAt(t, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beatAt(t, s, 15*time.Second)
	awaitUp(t, s)
	c, err := pgx.Connect(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	before, err := s.Wait(t.Context(), task.Generations{})
	if err != nil {
		t.Fatal(err)
	}
	const loops = 300
	for n := range loops { // the names that a stranger knows: that of the schema, and the tables'
		for _, channel := range []string{"lastcall_lastcall", "lastcall", "lastcall_"} {
			if _, err := c.Exec(t.Context(), `select pg_notify($1, $2)`, channel, "e"+string(rune('a'+n%26))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var channels int
	if err := c.QueryRow(t.Context(), `select count(*) from pg_stat_activity where query like '%' || $1 || '%' and pid <> pg_backend_pid()`, s.channel).Scan(&channels); err != nil || channels > 0 {
		t.Errorf("a stranger sees the channel's name in %d sessions, %v", channels, err)
	}
	if _, err := c.Exec(t.Context(), `select name from lastcall.channel`); err == nil {
		t.Error("a stranger reads the channel's name")
	}
	// An announcement on the store's channel comes after all of them, and is received.
	exec(t, server.DSN("postgres"), `select pg_notify('`+s.channel+`', 'aother')`)
	now, patience := before, soon(t)
	for now.Commands == before.Commands {
		if now, err = s.Wait(patience, now); err != nil {
			t.Fatal(err)
		}
	}
	if heard := now.Tasks - before.Tasks; heard > 0 {
		t.Errorf("%d of a stranger's %d announcements were believed", heard, 3*loops)
	}
}

// A role sees only the name and the role of another role's sessions, whatever the server tracks.
func TestSession_IsSeenByAnotherRoleWhateverTheServerTracks(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off", "track_activities=off")
	dsn, quiet := server.DSN("postgres"), slog.New(slog.DiscardHandler)
	a := openAt(t, Config{DSN: dsn, Migrate: true, Logger: quiet})
	defer closed(t, a)
	exec(t, dsn, `create role neighbour login`, `grant usage on schema lastcall to neighbour`, `grant select, insert, update, delete on all tables in schema lastcall to neighbour`)
	b := openAt(t, Config{DSN: strings.Replace(dsn, "lastcall@", "neighbour@", 1), Logger: quiet})
	defer closed(t, b)
	beatAt(t, a, 15*time.Second)
	awaitRecorded(t, a)
	if life := lifeOf(t, b).Liveness; life != task.LivenessAlive {
		t.Errorf("%s, with a session", life)
	}
	a.end() // as if it had been killed
	if took := untilDead(t, b); took > 5*time.Second {
		t.Errorf("its death was certain after %v", took)
	}
}
