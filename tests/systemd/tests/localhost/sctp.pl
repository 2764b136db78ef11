# sctp.pl serve|ask ADDRESS PORT
use Socket;
my ($what, $address, $port) = @ARGV;
socket(my $s, AF_INET, SOCK_STREAM, 132) or die "no socket: $!\n";
my $at = pack_sockaddr_in($port, inet_aton($address));
$SIG{ALRM} = sub { print "timeout\n"; exit };
if ($what eq 'serve') {
    bind($s, $at) or die "bind: $!\n";
    listen($s, 9) or die "listen: $!\n";
    exit if fork;
    close STDOUT; close STDERR; close STDIN;
    while (accept(my $c, $s)) { syswrite $c, "of the server\n"; close $c }
} else {
    alarm 5;
    connect($s, $at) or die "connect: $!\n";
    sysread $s, my $said, 100;
    print $said;
}
