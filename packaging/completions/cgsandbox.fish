# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cgsandbox_global_optspecs
    string join \n json h/help V/version
end

function __fish_cgsandbox_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cgsandbox_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cgsandbox_using_subcommand
    set -l cmd (__fish_cgsandbox_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -s h -l help -d 'Print help'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -s V -l version -d 'Print version'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "check" -d 'Look for mistakes in the configuration'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "explain" -d 'Show what USER\'s next login gets, and why'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "status" -d 'Show limits, use and sessions: of USER, or of everybody'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "address" -d 'Print the addresses of USER\'s private localhost, IPv4 and IPv6, for scripts'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "doctor" -d 'Find what keeps logins out of their sandboxes; change nothing'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "enable" -d 'Add the line to PAM services, after a trial login of root\'s with it'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "disable" -d 'Remove the line from PAM services'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "apply" -d 'Apply the current configuration to users who are logged in: USER, or everybody'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "gc" -d 'Finish what a crash or a kill -9 left of any user\'s sessions'
complete -c cgsandbox -n "__fish_cgsandbox_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand check" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand check" -s h -l help -d 'Print help'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand explain" -l service -d 'The PAM service that the login comes through' -r -f
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand explain" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand status" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand address" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand address" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand doctor" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand enable" -l service -d 'A PAM service; without it, sshd, and systemd-user where there are user managers' -r -f
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand enable" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand disable" -l service -d 'A PAM service; without it, all in /etc/pam.d that have the line' -r -f
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand disable" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand disable" -s h -l help -d 'Print help'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand apply" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand gc" -l json -d 'Print one JSON object instead of text'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand gc" -s h -l help -d 'Print help'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "check" -d 'Look for mistakes in the configuration'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "explain" -d 'Show what USER\'s next login gets, and why'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "status" -d 'Show limits, use and sessions: of USER, or of everybody'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "address" -d 'Print the addresses of USER\'s private localhost, IPv4 and IPv6, for scripts'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "doctor" -d 'Find what keeps logins out of their sandboxes; change nothing'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "enable" -d 'Add the line to PAM services, after a trial login of root\'s with it'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "disable" -d 'Remove the line from PAM services'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "apply" -d 'Apply the current configuration to users who are logged in: USER, or everybody'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "gc" -d 'Finish what a crash or a kill -9 left of any user\'s sessions'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand help; and not __fish_seen_subcommand_from check explain status address doctor enable disable apply gc help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand explain" -f -a "(__fish_complete_users)"
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand status" -f -a "(__fish_complete_users)"
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand address" -f -a "(__fish_complete_users)"
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand doctor" -f -a "(__fish_complete_users)"
complete -c cgsandbox -n "__fish_cgsandbox_using_subcommand apply" -f -a "(__fish_complete_users)"
