package test

import (
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestVersions_OnEachServerNothingIsLostToKillsAndStops(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: kills and stops on each version of PostgreSQL that scripts/postgres-versions has fetched")
	}
	pgtest.OnEachVersion(t, "^(TestKill_|TestStop_|TestOutage_|TestRollout_)")
}
