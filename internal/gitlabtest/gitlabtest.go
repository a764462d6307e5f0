// Package gitlabtest is a faithful fake of the part of GitLab that jobgate talks to: the job API, which looks up a CI
// job token, the project endpoints that say what the lookup leaves out, and ID tokens with the keys to verify them.
//
// A test describes a GitLab as an Instance (Example is one to start from), starts a Server with it and changes it with
// Server.Update. The production client then talks real HTTP to it. The fake has GitLab's oddities on purpose, because a
// client must survive them: environment patterns are unanchored, a licence that lapses changes access silently, every
// token of a job that has ended gets the same 401. Faults make it fail as GitLab and the proxies before it fail.
//
// Comments name the GitLab source file that a rule was read from. "Deduced" marks what follows from that code but is not
// written there.
//
// The package knows GitLab alone. It must not know jobgate's configuration, Kubernetes, or any type of the production
// client: code shared with what it tests would hide the mistakes of both.
package gitlabtest
