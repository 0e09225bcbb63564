package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/lastcall-go/lastcall/internal/sqlfile"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// statements are the statements of the files, by their names.
var statements = readStatements()

func readStatements() map[string]string {
	all := make(map[string]string)
	files, err := sqlFiles.ReadDir("sql")
	for _, f := range files {
		var text []byte
		if text, err = sqlFiles.ReadFile("sql/" + f.Name()); err != nil {
			break
		}
		maps.Copy(all, sqlfile.Parse(string(text)))
	}
	if err != nil {
		panic(err) // the files are embedded
	}
	for name, where := range map[string]string{
		"RunningTasksOfNumbers": "OfNumbers", "RunningTasksNotListed": "HeldAndNotListed", "RunningTasksHeldBy": "HeldBy",
	} {
		all[name] = all["RunningTasks"] + "\n" + all[where]
	}
	return all
}

// bulkSizes are how many rows a statement inserts at once, the largest first: most of the cost of a
// single row is the statement, not the row.
var bulkSizes = []int{64, 8, 1}

// several returns a statement for n rows, built from one for one row, and how many arguments a row
// has.
func several(text string, n int) (string, int) {
	const values = "values ("
	from := strings.Index(text, values) + len(values) - 1
	row := text[from : from+strings.Index(text[from:], ")")+1]
	return text[:from] + strings.Repeat(row+", ", n-1) + text[from:], strings.Count(row, "?")
}

// queryer runs queries by their names, inside a transaction or outside one.
type queryer interface {
	query(ctx context.Context, name string, args ...any) (*sql.Rows, error)
}

// prepared has prepared statements, by their texts. It is safe for concurrent use.
type prepared struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	mu      sync.Mutex
	stmts   map[string]*sql.Stmt
}

// statement returns a prepared statement, and prepares it if that has not been done yet.
func (p *prepared) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	st := p.stmts[text]
	p.mu.Unlock()
	if st != nil {
		return st, nil
	}
	// This may have to wait for a connection, so it is not done under the lock.
	st, err := p.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.stmts[text]; first != nil { // another goroutine was faster
		return first, st.Close() //nolint:sqlclosecheck // the second of two, which was not used
	}
	p.stmts[text] = st
	return st, nil
}

// close closes the statements. SQLite closes a connection, and writes its log into the file, when
// the last of its statements is closed.
func (p *prepared) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, st := range p.stmts {
		err = errors.Join(err, st.Close())
	}
	clear(p.stmts)
	return err
}

func (p *prepared) named(ctx context.Context, name string) (*sql.Stmt, error) {
	text, ok := statements[name]
	if !ok {
		return nil, fmt.Errorf("no statement is called %s", name)
	}
	return p.statement(ctx, text)
}

// query makes prepared a queryer.
func (p *prepared) query(ctx context.Context, name string, args ...any) (*sql.Rows, error) {
	st, err := p.named(ctx, name) //nolint:sqlclosecheck // close does it
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// each calls scan for each row of a query.
func each(ctx context.Context, q queryer, name string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.query(ctx, name, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, scan)
}

func eachRow(rows *sql.Rows, scan func(*sql.Rows) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one reads the only row of a query; sql.ErrNoRows means that there is none.
func one(ctx context.Context, q queryer, name string, args []any, dest ...any) error {
	found := false
	err := each(ctx, q, name, args, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dest...)
	})
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

// list returns values as an argument for json_each.
func list[T any](values []T) (string, error) {
	if values == nil {
		return "[]", nil
	}
	b, err := json.Marshal(values)
	return string(b), err
}
