package fixes

import "strings"

// Diff returns the corrected program as a diff, line by line. A line begins with two blanks if both
// programs have it, with "+ " if only the corrected program has it, and with "- " if only the
// program with the mistake has it.
func (f *Fix) Diff() string {
	before, after := lines(f.Broken.Text), lines(f.Fixed.Text)
	// common[i][j] is the length of the longest common subsequence of before[i:] and after[j:].
	common := make([][]int, len(before)+1)
	for i := range common {
		common[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); before[i] == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var b strings.Builder
	write := func(mark, line string) { b.WriteString(strings.TrimRight(mark+line, " ") + "\n") }
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			write("  ", after[j])
			i, j = i+1, j+1
		case j == len(after) || i < len(before) && common[i+1][j] >= common[i][j+1]:
			write("- ", before[i])
			i++
		default:
			write("+ ", after[j])
			j++
		}
	}
	return b.String()
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
