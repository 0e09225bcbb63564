package storekit

import "time"

// EmptySetKept is how long a set without schedules is kept after a process of it was heard of (rule
// 56).
const EmptySetKept = 24 * time.Hour
