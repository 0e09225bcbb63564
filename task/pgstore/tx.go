package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Tx wraps a transaction of pgx for [task.Client.WithTx], [task.Run.SaveTx], [task.Run.StepTx] and
// [task.Run.FinishTx]. The transaction must be in the database that has the store's schema.
//
// In a transaction that is repeatable read or serializable, enqueuing, saving and finishing may
// fail with a serialization failure (SQLSTATE 40001). Then nothing was written: run the transaction
// again. With a nil tx every one of these calls returns an error.
func Tx(tx pgx.Tx) task.Tx {
	if tx == nil {
		return nil
	}
	return pgxTx{tx}
}

// SQLTx wraps a transaction of database/sql, with any driver for PostgreSQL. What [Tx] says about
// isolation also applies here.
func SQLTx(tx *sql.Tx) task.Tx {
	if tx == nil {
		return nil
	}
	return sqlTx{tx}
}

// callerTx is a transaction of the caller: a pgxTx or an sqlTx.
type callerTx interface {
	// exec runs a statement that returns no rows.
	exec(ctx context.Context, sql string) error
	// row runs a statement that returns one row; without a row the error is pgx.ErrNoRows.
	row(ctx context.Context, sql string, args []any, into ...any) error
}

type pgxTx struct{ tx pgx.Tx }

func (pgxTx) StoreTx() string { return "PostgreSQL (pgx)" }

func (t pgxTx) exec(ctx context.Context, sql string) error {
	_, err := t.tx.Exec(ctx, sql)
	return err
}

func (t pgxTx) row(ctx context.Context, sql string, args []any, into ...any) error {
	return t.tx.QueryRow(ctx, sql, args...).Scan(into...)
}

type sqlTx struct{ tx *sql.Tx }

func (sqlTx) StoreTx() string { return "PostgreSQL (database/sql)" }

func (t sqlTx) exec(ctx context.Context, text string) error {
	_, err := t.tx.ExecContext(ctx, text)
	return err
}

// row sends lists as text, which every driver can do, and reads lists as text too.
func (t sqlTx) row(ctx context.Context, text string, args []any, into ...any) error {
	m := pgtype.NewMap()
	texts := make([]any, len(args))
	for i, arg := range args {
		var err error
		if texts[i], err = textOf(m, arg); err != nil {
			return err
		}
	}
	answers := make([]sql.NullString, len(into))
	columns := make([]any, len(into))
	for i := range answers {
		columns[i] = &answers[i]
	}
	err := t.tx.QueryRowContext(ctx, text, texts...).Scan(columns...)
	if errors.Is(err, sql.ErrNoRows) {
		return pgx.ErrNoRows
	}
	for i := 0; err == nil && i < len(into); i++ {
		if answers[i].Valid {
			err = m.Scan(listOID(into[i]), pgtype.TextFormatCode, []byte(answers[i].String), into[i])
		}
	}
	return err
}

// textOf returns a list as text, and any other argument as it is.
func textOf(m *pgtype.Map, arg any) (any, error) {
	oid := listOID(arg)
	if oid == 0 {
		return arg, nil
	}
	b, err := m.Encode(oid, pgtype.TextFormatCode, arg, nil)
	if err != nil || b == nil { // a nil list is null
		return nil, err
	}
	return string(b), nil
}

// listOID returns the type of a list, or of what a pointer to a list points to, and 0 for
// everything else.
func listOID(v any) uint32 {
	switch v.(type) {
	case [][16]byte, *[][16]byte:
		return pgtype.UUIDArrayOID
	case []string, []*string, *[]string:
		return pgtype.TextArrayOID
	case []int64:
		return pgtype.Int8ArrayOID
	case []int32, *[]int32:
		return pgtype.Int4ArrayOID
	case []bool, *[]bool:
		return pgtype.BoolArrayOID
	case []float64:
		return pgtype.Float8ArrayOID
	case [][]byte:
		return pgtype.ByteaArrayOID
	}
	return 0
}

func errForeign(tx task.Tx) error {
	if tx == nil {
		return fmt.Errorf("%w: no transaction was given: wrap one with pgstore.Tx or pgstore.SQLTx", task.ErrInvalid)
	}
	return fmt.Errorf("%w: a transaction of %s is none of PostgreSQL: wrap it with pgstore.Tx or pgstore.SQLTx", task.ErrInvalid, tx.StoreTx())
}

// AddTx implements task.TxStore. It sends one statement, whatever the tasks are.
func (s *Store) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	x, ok := tx.(callerTx)
	if !ok {
		return nil, errForeign(tx)
	}
	added := make([]task.AddResult, len(tasks))
	if len(tasks) == 0 {
		return added, nil
	}
	news, err := newTasks(tasks)
	if err != nil {
		return nil, s.wrap(ctx, ctx, err)
	}
	var a addAnswer
	if err := x.row(ctx, s.q.Add, addArgs(news), a.columns()...); err != nil {
		return nil, s.wrap(ctx, ctx, err)
	}
	a.fill(news, added)
	return added, nil
}

// FinishTx implements task.TxStore. It waits for another transaction that has locked the run.
func (s *Store) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	if c.Status != task.StatusSucceeded {
		return fmt.Errorf("%w: only a success can be recorded in a transaction, not %s", task.ErrInvalid, c.Status)
	}
	return s.changeTx(ctx, tx, c)
}

// SaveTx implements task.TxStore. It waits for another transaction that has locked the run.
func (s *Store) SaveTx(ctx context.Context, tx task.Tx, c task.Change) error {
	if c.Status != task.StatusRunning {
		return fmt.Errorf("%w: a checkpoint is of a run that goes on, not of one that is %s", task.ErrInvalid, c.Status)
	}
	return s.changeTx(ctx, tx, c)
}

// changeTx writes a change in a transaction of the caller. If the run is no longer held it makes
// that transaction impossible to commit.
func (s *Store) changeTx(ctx context.Context, tx task.Tx, c task.Change) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	x, ok := tx.(callerTx)
	if !ok {
		return errForeign(tx)
	}
	if key, ok := storekit.ParseID(c.Task); ok {
		sql, args := statement(s.q.FinishRun, s.q.SaveRunTx, []item{{Change: &c, key: key}})
		// The statement returns a row if the run was not changed.
		err := x.row(ctx, sql, args, new([][16]byte))
		if noRows(err) {
			return nil
		}
		if err != nil {
			return s.wrap(ctx, ctx, err)
		}
	}
	if err := x.exec(ctx, s.q.Poison); err == nil {
		return errors.New("pgstore: a transaction that must not be committed could not be made so: roll it back")
	}
	return task.ErrLeaseLost
}

// Wake implements task.TxStore.
func (s *Store) Wake() { s.claimable(everything) }
