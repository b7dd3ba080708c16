// Package local runs a private Postgres from the binaries that are installed on
// this machine. It makes the data folder, starts the server, waits until it
// answers and stops it.
//
// It promises that the server listens on one TCP address and on no Unix socket,
// that every connection needs the owner's password, that data pages carry
// checksums, and that a data folder has one user at a time. Started as root it
// runs the server as an unprivileged user, because Postgres refuses root.
//
// On Linux the server ends with the process that started it, also when that
// process is killed. Elsewhere a killed process leaves the server behind, and the
// next Start refuses the folder until that server is stopped.
//
// Beside the data folder `<dir>` live `<dir>.password`, `<dir>.log` and
// `<dir>.lock`.
package local
