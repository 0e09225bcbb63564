package pgtest

import (
	"errors"
	"sync"
	"testing"
)

// Prepared is a database that many tests need in the same state, such as one with a schema. It is
// prepared once for the test binary, and each test gets a copy: to copy a database takes a tenth of
// the processor time in which the tables of a store are created.
type Prepared struct {
	// Prepare brings an empty database into the state that each copy begins with. It leaves no
	// connection open.
	Prepare func(dsn string) error

	once  sync.Once
	name  string
	admin string
	err   error
}

// prepared are the databases that exist, for dropPrepared.
var prepared struct {
	sync.Mutex
	all []*Prepared
}

// DSN returns the address of a new copy, which is dropped after the test. If the machine has no
// PostgreSQL, it skips the test with the reason.
func (p *Prepared) DSN(t testing.TB) string {
	t.Helper()
	server := admin(t)
	p.once.Do(func() {
		p.admin, p.name = server, newName()
		if p.err = do(server, "create database "+p.name+" template template0"); p.err != nil {
			return
		}
		prepared.Lock()
		prepared.all = append(prepared.all, p)
		prepared.Unlock()
		p.err = p.Prepare(Keywords(server, "dbname", p.name))
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return database(t, server, p.name)
}

// dropPrepared drops what Prepared has created. On the shared cluster it would go with the cluster,
// but not on another server.
func dropPrepared() (err error) {
	prepared.Lock()
	defer prepared.Unlock()
	for _, p := range prepared.all {
		err = errors.Join(err, do(p.admin, "drop database "+p.name+" with (force)"))
	}
	return err
}
