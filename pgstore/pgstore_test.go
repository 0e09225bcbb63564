package pgstore

import (
	"fmt"
	"os"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/storetest"
	"github.com/lastcall-go/lastcall/task"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestTheStoreKeepsItsRules(t *testing.T) { storetest.Run(t, engine(t)) }

func TestTheStoreKeepsItsRulesWhenCallsAreRepeated(t *testing.T) { storetest.RunTwice(t, engine(t)) }

func TestThePromisesHoldThroughFaults(t *testing.T) { storetest.Faults(t, engine(t), 9) }

// engine makes a schema for each test.
func engine(t *testing.T) storetest.Engine {
	dsn := pgtest.DSN(t)
	schemas := make(map[string]string)
	store := func(t *testing.T) task.Store {
		if schemas[t.Name()] == "" {
			schemas[t.Name()] = fmt.Sprintf("s%d", len(schemas))
		}
		s := openAt(t, Config{DSN: dsn, Schema: schemas[t.Name()], Migrate: true})
		s.observer.confirm = 0 // who is killed here does not come back
		return s
	}
	return storetest.Engine{Open: store, Reopen: store, Kill: func(t *testing.T, s task.Store, worker string) {
		pg, ok := s.(*Store)
		if !ok {
			t.Fatalf("a %T is no pgstore", s)
		}
		pg.drop(t.Context(), worker)
	}}
}

func openAt(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheStoreDoesWhatTheModelDoes(t *testing.T) {
	storetest.Property(t, openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true}), 40)
}
