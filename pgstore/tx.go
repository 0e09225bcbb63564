package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

// Tx wraps a transaction of pgx for [task.Client.In] and [task.Run.FinishIn]. It must be one of the
// database that has the store's schema.
func Tx(tx pgx.Tx) task.Tx { return pgxTx{tx} }

// SQLTx wraps a transaction of database/sql, whose driver may be any for PostgreSQL.
func SQLTx(tx *sql.Tx) task.Tx { return sqlTx{tx} }

// execer is either of them.
type execer interface {
	exec(ctx context.Context, sql string, args ...any) (rows int64, err error)
	// row reads one row, or returns errNoRow.
	row(ctx context.Context, sql string, args []any, into ...any) error
}

var errNoRow = errors.New("no row")

type pgxTx struct{ tx pgx.Tx }

func (pgxTx) StoreTx() string { return "PostgreSQL (pgx)" }

func (t pgxTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

func (t pgxTx) row(ctx context.Context, sql string, args []any, into ...any) error {
	err := t.tx.QueryRow(ctx, sql, args...).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoRow
	}
	return err
}

type sqlTx struct{ tx *sql.Tx }

func (sqlTx) StoreTx() string { return "PostgreSQL (database/sql)" }

func (t sqlTx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t sqlTx) row(ctx context.Context, text string, args []any, into ...any) error {
	err := t.tx.QueryRowContext(ctx, text, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoRow
	}
	return err
}

func errForeign(tx task.Tx) error {
	return fmt.Errorf("%w: a transaction of %s is none of PostgreSQL: wrap it with pgstore.Tx or pgstore.SQLTx", task.ErrInvalid, tx.StoreTx())
}

// AddTx implements task.TxStore. It works inside the transaction alone, but for the first task of a kind in a
// queue, which takes a connection beside it for a moment, none of the pool.
func (s *Store) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.Added, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	x, ok := tx.(execer)
	if !ok {
		return nil, errForeign(tx)
	}
	news, err := s.prepare(ctx, tasks, func(ctx context.Context, l lane) (int32, error) { return s.numberIn(ctx, x, l) })
	if err != nil {
		return nil, s.wrap(ctx, ctx, err)
	}
	added, err := s.addOneByOne(ctx, x, news)
	return added, s.wrap(ctx, ctx, err)
}

const (
	finishOneSQL = `
with ended as materialized (
	select c.task, k.run, k.worker, k.started, k.max_attempts, k.max_crashes, k.max_interruptions
	from (select $1::uuid as task) c join @.tasks t on t.id = c.task, @.claims k join @.incarnations i on i.n = k.worker
	where i.id = $3 and k.run = $2 and c.task = any (k.tasks) and ` + inNoSheet + `
	for key share of t
), written as (
	insert into @.states as s (task, run, runs, worker, started, since, status, max_attempts, max_crashes, max_interruptions, result)
	select task, run, 1, worker, started, now(), 'succeeded', max_attempts, max_crashes, max_interruptions, $4 from ended
	on conflict (task) do update set ` + anotherRun + `,
		status = excluded.status, reason = null, error = null, crashed = null, taken = null, asked = null, result = excluded.result
	where coalesce(s.run, 0) < excluded.run
	returning s.task, s.runs
), done as (
	select t.id, t.lane, t.key, w.runs from written w join @.tasks t on t.id = w.task
), past as (
	insert into @.runs (task, run, started, ended, worker, crashed, taken, status, reason, error)
	select t.id, t.run, t.started, t.since, t.worker, t.crashed, t.taken, t.status, t.reason, t.error
	from done h join @.rows t on t.id = h.id where h.runs > 1 and t.run > 0
	on conflict do nothing
), heard as (
	delete from @.asked a using done d where a.task = d.id
), unkeyed as (
	delete from @.keys k using done d, @.lanes n where n.n = d.lane and d.key <> '' and k.kind = n.kind and k.key = d.key and k.task = d.id
)
insert into @.tallies (lane, status, n) select lane, 'succeeded', 1 from done`
	apartOneSQL = `update @.claims k set apart = true from @.incarnations i where i.id = $1 and k.worker = i.n and k.run = $2 and not k.apart`
	// poison makes a transaction impossible to commit.
	poison = `do $$ begin raise exception 'lastcall: the run is no longer held, nothing of this transaction may be committed'; end $$`
)

// FinishTx implements task.TxStore.
func (s *Store) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	x, ok := tx.(execer)
	if !ok {
		return errForeign(tx)
	}
	if c.Status != task.Succeeded {
		return fmt.Errorf("%w: only a success can be recorded in a transaction, not %s", task.ErrInvalid, c.Status)
	}
	n := int64(0)
	if key, ok := parseID(c.Task); ok {
		if err := s.endsApart(ctx, x, c.Fence, key); err != nil {
			return err
		}
		var err error
		if n, err = x.exec(ctx, s.q.finishOne, c.Task, c.Run, c.Worker, c.Result); err != nil {
			return s.wrap(ctx, ctx, err)
		}
	}
	if n == 1 {
		s.holdings.miss(c.Worker) // it has ended when the transaction is committed
		if len(c.Log) > 0 {
			_, err := x.exec(ctx, s.q.logOne, c.Task, c.Log)
			return s.wrap(ctx, ctx, err)
		}
		return nil
	}
	if _, err := x.exec(ctx, poison); err == nil {
		return errors.New("pgstore: a transaction that must not be committed could not be made so: roll it back")
	}
	return task.ErrLeaseLost
}

// endsApart keeps a run that is ending in a transaction off the sheets.
func (s *Store) endsApart(ctx context.Context, tx execer, f task.Fence, key [16]byte) error {
	if s.holdings.knows(f, key) {
		s.holdings.byRow(f, key)
		return nil
	}
	_, err := tx.exec(ctx, s.q.apartOne, f.Worker, f.Run)
	return s.wrap(ctx, ctx, err)
}

// Wake implements task.TxStore.
func (s *Store) Wake() { s.claimable(everything) }

// keyBusy names the error of a wait for a key that took too long.
func keyBusy(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == codeLockNotAvailable {
		return task.ErrKeyBusy
	}
	return err
}
