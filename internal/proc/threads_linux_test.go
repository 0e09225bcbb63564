package proc

import (
	"os"
	"testing"
)

func TestReserveThreads_MakesThemAndTheyStay(t *testing.T) {
	ReserveThreads(40)
	all, err := os.ReadDir("/proc/self/task")
	if err != nil || len(all) < 40 {
		t.Errorf("%d threads, %v", len(all), err)
	}
}
