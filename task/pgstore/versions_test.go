package pgstore

import (
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestVersions_OnEachServerTheStoreKeepsItsRules(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: the rules of the store on each version of PostgreSQL that scripts/postgres-versions has fetched")
	}
	pgtest.OnEachVersion(t, "^(TestStore_|TestPromise_|TestSettings_|TestOpen_|TestMigrate_|TestLostCommits_)")
}
