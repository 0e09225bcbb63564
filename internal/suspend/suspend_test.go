package suspend

import (
	"testing"
	"time"
)

func TestTotal_ChangesByTheSuspensionsOnly(t *testing.T) {
	before := Total()
	for range 1000 {
		if slept := Since(before); slept != 0 {
			t.Fatalf("the machine is awake, and was suspended for %v", slept)
		}
	}
	if slept := Since(before - time.Minute); (slept - time.Minute).Abs() > 100*time.Millisecond {
		t.Errorf("after a minute it was suspended for %v", slept)
	}
}
