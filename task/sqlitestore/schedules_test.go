package sqlitestore

import (
	"testing"

	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestSchedules_InFakeTime(t *testing.T) { storetest.RunSchedules(t, engine()) }
