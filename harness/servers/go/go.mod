module stormlab/server

// The lowest release whose net.Listen speaks Multipath TCP by default; a lower
// number here would turn that off, also under a newer toolchain.
go 1.24
