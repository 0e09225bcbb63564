package httpapi

import "testing"

func TestHalfCharacter_IsASurrogateWithoutTheOtherOne(t *testing.T) {
	for raw, half := range map[string]bool{
		`"\ud83d"`:                true,
		`"\uDE00"`:                true,
		`"a\ud83db"`:              true,
		`"\ud83d\ud83d\ude00"`:    true,
		`"\ud83d\\ude00"`:         true,
		`"\ud83d\n"`:              true,
		`"\ud83d\u0041"`:          true,
		`"\ud83d\ude00"`:          false,
		`"\\ud83d"`:               false,
		`"\\\"\u00e9\ufffd\t\/é"`: false,
		`""`:                      false,
	} {
		if got := halfCharacter([]byte(raw)); got != half {
			t.Errorf("%s: %t", raw, got)
		}
	}
}
